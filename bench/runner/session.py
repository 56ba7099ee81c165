"""One run from targets to a finished folder: what `bench run`, the pytest plugin and `bench.run()` share.

The loop over the cells: execute, put on disk, tell the observers. Order is the plan's.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from bench.core.advice import DOUBTED
from bench.core.cell import Cell
from bench.core.environment import BUSY_CORES_LIMIT
from bench.core.errors import IncomparableError, StoreError, UsageError
from bench.core.jsonio import from_json, to_json
from bench.core.progress import tell
from bench.core.record import Record, Sampling
from bench.device.backend import backend_of
from bench.device.clocks import locked_environments
from bench.device.environment import look
from bench.runner import processes
from bench.runner.claims import check_models
from bench.runner.events import (
    CellFinished,
    CellPrepared,
    CellStarted,
    Event,
    Observer,
    RunFinished,
    RunResumed,
    RunStarted,
)
from bench.runner.executor import SNAPSHOTS, LocalExecutor
from bench.runner.peaks import known_peaks, slow_precisions
from bench.runner.plan import Plan, make_plan, preflight_limit, remaining
from bench.runner.records import TRACES, describe_resumption, describe_run
from bench.store.codec import write_json
from bench.store.runs import RunFolder, RunInfo
from bench.store.stored import CLAIMS_FILE, StoredRun, read_stored_run
from bench.suite.file import read_suite
from bench.suite.sweep import Sweep, expand, refuse_idle


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run measures of its cells, and in which order; the rest waits for `--resume`.

    Attributes:
        is_short_first: Cells of few FLOPs first; else in the order of the plan.
        until: No cell starts at or after this moment, which has a zone.
        max_cells: At most this many are measured.
    """

    is_short_first: bool = False
    until: datetime | None = None
    max_cells: int | None = None


def run_cells(
    cells: Sequence[Cell],
    executor: LocalExecutor,
    folder: RunFolder,
    observers: Iterable[Observer] = (),
    limits: Limits | None = None,
    lane: Callable[[Cell], Hashable] | None = None,
) -> tuple[Record, ...]:
    """Measure every cell within the limits; each record is on disk before the next cell of its lane starts.

    Cells of one `lane` follow each other, lanes run side by side; None is alone, before all lanes. By default every
    cell is alone. Observers are told what happens, one at a time.

    Raises:
        StoreError: A record cannot be written; those before it are on disk.
        KeyboardInterrupt: Passed on after the observers have heard that the run ended early.
    """
    listeners = tuple(observers)
    lock, is_over = threading.Lock(), threading.Event()

    def emit(event: Event) -> None:
        for listener in listeners:
            listener(event)

    limits = limits or Limits()
    planned = len(cells)
    most = planned if limits.max_cells is None else min(planned, limits.max_cells)
    cells = cells if limits.is_short_first else cells[:most]
    records: list[Record] = []

    def measure(some: Iterable[Cell]) -> None:
        for cell in some:
            if is_over.is_set() or (limits.until is not None and datetime.now(UTC) >= limits.until):
                return
            with lock:
                emit(CellStarted(cell=cell, index=len(records)))
            record = executor.run(cell)
            with lock:
                if is_over.is_set():  # its process was killed with the run: that says nothing of the cell
                    return
                folder.append(record)
                records.append(record)
                emit(CellFinished(record=record, index=len(records) - 1))

    emit(RunStarted(folder=folder.path, cells=tuple(cells), most=most, until=limits.until))
    try:
        executor.prepare(cells, lambda cell: emit(CellPrepared(cell=cell)))
        if limits.is_short_first:
            cells = sorted(cells, key=executor.work_of)[:most]
        alone, *lanes = lanes_of(cells, lane) if lane else [cells]
        measure(alone)
        if lanes:
            _side_by_side([functools.partial(measure, some) for some in lanes], is_over)
    finally:
        is_complete = len(records) == planned
        emit(RunFinished(folder=folder.path, records=tuple(records), is_complete=is_complete))
    return tuple(records)


def lanes_of(cells: Sequence[Cell], lane: Callable[[Cell], Hashable]) -> list[list[Cell]]:
    """Part cells into those that must be alone (lane None), always the first part, and one part per lane, in order."""
    found: dict[Hashable, list[Cell]] = {None: []}
    for cell in cells:
        found.setdefault(lane(cell), []).append(cell)
    return list(found.values())


def _side_by_side(lanes: Sequence[Callable[[], None]], is_over: threading.Event) -> None:
    """Run each lane in a thread, which only waits for processes; when one raises, end all."""
    with ThreadPoolExecutor(max_workers=len(lanes)) as pool:
        futures = [pool.submit(lane) for lane in lanes]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            is_over.set()
            processes.kill_running()
            raise


DEFAULT_SUITE = "quick"


@dataclass(frozen=True, kw_only=True)  # without slots, for `cells`
class Session:
    """What is to be measured, before this machine was asked."""

    sweeps: tuple[Sweep, ...]
    sampling: Sampling = field(default_factory=Sampling)
    planned: tuple[Cell, ...] = ()

    @functools.cached_property  # they are asked for four times, and may be a hundred thousand
    def cells(self) -> tuple[Cell, ...]:
        """The cells of all sweeps, each once; those of a run that is resumed are planned already."""
        return self.planned or expand(self.sweeps)


def plan_targets(targets: Sequence[str], axes: Mapping[str, Any]) -> Session:
    """Turn targets into a session.

    Args:
        targets: Model specs, suite files (`*.toml`), names of built-in suites; none is the suite `quick`.
        axes: Values by axis that were asked for by hand; they override those of a suite.

    Raises:
        UsageError: A suite cannot be read, or a value of `axes` means nothing in any cell.
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
        sweeps += (sweep.over(axes) for sweep in suite.sweeps)
    if models:
        sweeps.append(Sweep(axes={"model": tuple(dict.fromkeys(models)), **axes}))
    if models or "precision" in axes:  # what was asked for by name is measured, however slow it is
        sampling = replace(sampling, skip_slower_than=0.0)
    session = Session(sweeps=tuple(sweeps), sampling=sampling)
    refuse_idle(axes, lambda: session.cells)
    return session


def suite_path(target: str) -> Path | None:
    """Return the suite file a target names; None if it names a model.

    Raises:
        UsageError: It ends in `.toml` but there is no such file.
    """
    if target.endswith(".toml"):
        if not Path(target).is_file():
            raise UsageError(f"no suite file {target!r}; built-in suites: {', '.join(builtin_suites())}")
        return Path(target)
    return builtin_suites().get(target)


def builtin_suites() -> dict[str, Path]:
    """Return the suites that come with stepbench, by name."""
    folder = Path(str(files("bench.suite"))) / "builtin"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def plan_resumption(run: str, results: Path = Path("results")) -> Session:
    """Plan what a stored run was asked to do: its cells and its sampling; arguments as for `RunFolder.open`.

    Raises:
        StoreError: There is no such run, or it cannot be read.
    """
    info = RunFolder.open(run, results).run
    try:
        sampling = from_json(Sampling, info.settings)
    except ValueError as error:
        problem = f"run {info.id} does not say how `bench run` would sample it, and cannot be resumed"
        raise StoreError(f"{problem}; measure again by the command that made it: {info.typed}") from error
    return Session(sweeps=(), sampling=sampling, planned=info.cells)


def left_of(
    session: Session, run: str, results: Path, *, retried: Collection[str] | None = None, **looking: Any
) -> tuple[Cell, ...]:
    """Return the cells that resuming a run would measure; arguments as for `execute` and `make_plan`.

    Raises:
        BenchError: There is no such run, or see `make_plan`.
    """
    old = RunFolder.open(run, results)
    plan = make_plan(session.cells, **looking)
    found = remaining(old, plan.cells, plan.environments, session.sampling, retried=retried)
    return tuple(cell for cell, _ in found.again)


def execute(
    session: Session,
    *,
    results: Path = Path("results"),
    timeout_seconds: float | None = None,
    method: str = "forkserver",
    observers: Iterable[Observer] = (),
    resume: str | None = None,
    retried: Collection[str] | None = None,
    limits: Limits | None = None,
    pool: Sequence[str] = (),
    is_tracing: bool = False,
    **passes: Any,
) -> StoredRun:
    """Measure a session, store it, derive its tables.

    Args:
        session: What to measure.
        results: Folder under which the run's folder is made or looked for.
        timeout_seconds: Timeout of each process, of which a cell takes three or more.
        method: `forkserver`, `spawn` or `inline`.
        observers: Told what happens.
        resume: Measure into this run what it lacks, instead of starting a new one.
        retried: When resuming, only cells that ended badly in one of these ways are tried again; None: in any way.
            `DOUBTED`: cells whose times are in doubt, too, and none for how it was sampled.
        limits: Which of the cells are measured now.
        pool: Accelerators (or `all`), each with a worker of its own, that share the cells of accelerators.
        is_tracing: Write a trace of each cell.
        passes: Further fields of `LocalExecutor`: what is done beside the timing of a cell.

    Raises:
        BenchError: A model or device is not there, or the results cannot be written; raised before the first cell
            wherever it can be known before.
    """
    old = RunFolder.open(resume, results) if resume is not None else None
    threading.Thread(target=_import_report, daemon=True).start()
    plan = make_plan(session.cells, method=method, pool=pool, timeout_seconds=preflight_limit(timeout_seconds))
    if session.sampling.exclusive:
        _refuse_shared_host()
        near = {device: backend_of(device).cpus_near(one.gpu_uuid) for device, one in plan.environments.items()}
        plan = replace(plan, near=near)
    with locked_environments(plan.environments, is_asked=session.sampling.lock_clocks) as environments:
        plan = replace(plan, environments=environments)
        limit = session.sampling.skip_slower_than
        executor = LocalExecutor(
            sampling=session.sampling,
            environments=plan.environments,
            timeout_seconds=timeout_seconds,
            method=method,
            peaks=known_peaks(results, plan.environments),
            slow=slow_precisions(plan.cells, plan.environments, results, limit, method=method),
            **passes,
        )
        info = describe_run(
            environment=next(iter(plan.environments.values())),
            cells=plan.cells,
            sweep=to_json(session.sweeps),
            settings=to_json(session.sampling),
        )
        folder = RunFolder.create(results, info) if old is None else old
        executor.snapshots = folder.path / SNAPSHOTS
        executor.traces = folder.path / TRACES if is_tracing else None
        listeners = tuple(observers)
        with folder.locked():
            try:
                cells = plan.cells
                if old is not None:
                    folder, cells, kept_records = _take_up(old, info, plan, session.sampling, retried, listeners)
                    executor.go_on_like(kept_records)
                run_cells(cells, executor, folder, listeners, limits, plan.lane if pool else None)
            except BaseException:  # also after Ctrl-C: tables of what there is
                processes.kill_running()
                with contextlib.suppress(StoreError):  # the first error says more
                    write_derived(folder, read_stored_run(folder))
                raise
            claims = check_models(tuple(dict.fromkeys(cell.model for cell in plan.cells)), method=method)
            tell("writing the tables and the report")
            run = replace(read_stored_run(folder), claims=claims)
            write_derived(folder, run)
    return run


def _refuse_shared_host() -> None:
    busy = look().other_busy_cores
    if busy is not None and busy > BUSY_CORES_LIMIT:
        raise IncomparableError(
            f"--exclusive was asked for, and other work keeps {busy:.1f} cores busy; end it, or leave --exclusive out"
        )


def _take_up(
    old: RunFolder,
    info: RunInfo,
    plan: Plan,
    sampling: Sampling,
    retried: Collection[str] | None,
    observers: Sequence[Observer],
) -> tuple[RunFolder, tuple[Cell, ...], tuple[Record, ...]]:
    """Prepare a stored run for the cells that it lacks; return it, these, and the records that stand."""
    left = remaining(old, plan.cells, plan.environments, sampling, retried=retried)
    old.remove_temporaries()
    recorded = {record.cell.key for record in old.read_records()[0]} - {cell.key for cell in plan.cells}
    folder = old.rewrite(
        replace(
            info,
            started_at=old.run.started_at,
            command=old.run.command,
            stepbench=old.run.stepbench,
            cells=(*plan.cells, *(cell for cell in old.run.cells if cell.key in recorded)),
            sweep=info.sweep or old.run.sweep,
            settings=old.run.settings if DOUBTED in (retried or ()) else info.settings,  # only some were sampled so
            resumptions=(*old.run.resumptions, describe_resumption()),
        )
    )
    event = RunResumed(
        folder=folder.path,
        kept=len(left.kept),
        again=tuple(Counter(reason.value for _, reason in left.again).items()),
        problems=tuple(map(str, left.problems)),
    )
    for observer in observers:
        observer(event)
    return folder, tuple(cell for cell, _ in left.again), left.kept


def _import_report() -> None:
    """Import what writes tables and report, a second and more, while the server of fresh processes imports torch."""
    with contextlib.suppress(Exception):  # imported again, and said, where it is used
        import bench.report.files
        import bench.runner.reporting  # noqa: F401


def write_derived(folder: RunFolder, run: StoredRun) -> None:
    """Write what is derived from a run: the claims, the tables, the Markdown summary and the HTML report."""
    from bench.report.files import write_tables
    from bench.report.formats.markdown import write_document
    from bench.runner.reporting import write_page
    from bench.tables.catalog import COLUMNS
    from bench.tables.run import run_document

    write_tables(folder, dict.fromkeys(COLUMNS, run.records) | {"claims": run.claims})
    folder.write_summary(write_document(run_document(run.records, run.claims, run.info.environment)))
    write_json(folder.path / CLAIMS_FILE, run.claims)
    write_page(folder, run)
