"""One run from targets to a finished folder: what `bench run`, the pytest plugin and `bench.run()` share."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import bench
from bench.core.cell import Cell
from bench.core.claim import CheckedClaim
from bench.core.errors import SuiteError
from bench.core.jsonio import to_json
from bench.core.record import Record, Sampling
from bench.runner.checking import check_models
from bench.runner.events import Observer
from bench.runner.executor import LocalExecutor
from bench.runner.plan import make_plan
from bench.runner.scheduler import run_cells
from bench.store.records import RunFolder, RunInfo
from bench.suite.file import read_suite
from bench.suite.sweep import Sweep, expand

DEFAULT_SUITE = "quick"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What is to be measured, before this machine was asked."""

    sweeps: tuple[Sweep, ...]
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells of all sweeps, each once."""
        return expand(self.sweeps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run that ended: where it lies and what it found."""

    folder: Path
    records: tuple[Record, ...]
    claims: tuple[CheckedClaim, ...]


def plan_targets(targets: Sequence[str], axes: Mapping[str, Any]) -> Session:
    """Turn targets into a session.

    Args:
        targets: Model specs, suite files (`*.toml`), names of built-in suites; none is the suite `quick`.
        axes: Fields of `Sweep` that were asked for by hand; they override those of a suite.

    Raises:
        SuiteError: A suite cannot be read.
    """
    sampling = Sampling()
    sweeps: list[Sweep] = []
    models: list[str] = []
    for target in targets or (DEFAULT_SUITE,):
        path = suite_path(target)
        if path is None:
            models.append(target)
            continue
        suite = read_suite(path)
        sampling = suite.sampling
        sweeps += (replace(sweep, **axes) for sweep in suite.sweeps)
    if models:
        sweeps.append(Sweep(models=tuple(dict.fromkeys(models)), **axes))
    return Session(sweeps=tuple(sweeps), sampling=sampling)


def suite_path(target: str) -> Path | None:
    """Return the suite file a target names; None if it names a model.

    Raises:
        SuiteError: It ends in `.toml` but there is no such file.
    """
    if target.endswith(".toml"):
        if not Path(target).is_file():
            raise SuiteError(f"no suite file {target!r}; built-in suites: {', '.join(builtin_suites())}")
        return Path(target)
    return builtin_suites().get(target)


def builtin_suites() -> dict[str, Path]:
    """Return the suites that come with stepbench, by name."""
    folder = Path(str(files("bench.suites")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def execute(
    session: Session,
    *,
    results: Path = Path("results"),
    timeout_seconds: float | None = None,
    method: str = "forkserver",
    observers: Iterable[Observer] = (),
) -> Finished:
    """Measure a session, store it, derive its tables.

    Raises:
        BenchError: A model or device is not there, or the results cannot be written; raised before the first cell
            wherever it can be known before.
    """
    plan = make_plan(session.cells, method=method)
    executor = LocalExecutor(
        sampling=session.sampling, environments=plan.environments, timeout_seconds=timeout_seconds, method=method
    )
    folder = RunFolder.create(
        results,
        RunInfo(
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            command=tuple(sys.argv),
            environment=next(iter(plan.environments.values())),
            cells=plan.cells,
            sweep=to_json(session.sweeps),
            settings=to_json(session.sampling),
            stepbench=bench.__version__,
        ),
    )
    records: tuple[Record, ...] = ()
    try:
        records = run_cells(plan.cells, executor, folder, observers)
    finally:  # also after Ctrl-C: tables of what there is
        if not records:
            records = folder.read_records()[0]
            write_derived(folder, records, ())
    claims = check_models(tuple(dict.fromkeys(cell.model for cell in plan.cells)), method=method)
    write_derived(folder, records, claims)
    return Finished(folder=folder.path, records=records, claims=claims)


def write_derived(folder: RunFolder, records: tuple[Record, ...], claims: tuple[CheckedClaim, ...]) -> None:
    """Write what is derived from records: the tables and the Markdown summary."""
    from bench.report.markdown import summary
    from bench.store.tables import write_tables

    write_tables(folder, records, claims)
    folder.write_text("tables/summary.md", summary(records, claims, folder.run.environment))
