"""Two stored runs side by side: nominate suspects for `bench ab`; never judge.

A run is a folder of `results/`, by path, id or `latest`, or a JSON file of pytest-benchmark written with our plugin.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.cell import Cell
from bench.core.environment import Environment
from bench.core.errors import IncomparableError, NothingMeasuredError
from bench.core.record import Outcome, Phase, Record
from bench.store.pytest_benchmark import read_session
from bench.store.runs import RunFolder
from bench.suite.command import ab_commands
from bench.tables.comparison import Nomination

NOMINATE_AT = 0.05
"""A change of this size, up or down, is worth a look; two runs of unchanged code differ by more often enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCell:
    """One cell of a stored run; `seconds` is the median step, None where it did not end OK, and `reason` says why."""

    id: str
    key: str
    cell: Cell | None
    environment: Environment | None
    seconds: float | None
    processes: int = 1
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A stored run, whatever wrote it."""

    name: str
    cells: tuple[StoredCell, ...]

    @property
    def commit(self) -> str | None:
        """The commit all cells were measured at, if it was clean and there is only one."""
        commits = {c.environment.git_commit for c in self.cells if c.environment and not c.environment.git_dirty}
        is_clean = all(c.environment is not None and not c.environment.git_dirty for c in self.cells)
        return commits.pop() if is_clean and len(commits) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nominated:
    """What two stored runs say: nominations, the commands that can judge them, and what to know besides."""

    nominations: tuple[Nomination, ...]
    commands: tuple[str, ...]
    notes: tuple[str, ...]


def compare_runs(base: str, head: str, *, results: Path, is_forced: bool = False) -> Nominated:
    """Put two stored runs side by side.

    Args:
        base: Path, id or `latest` (newest with records) of a run, or a JSON file of pytest-benchmark.
        head: The same.
        results: Where ids are looked up.
        is_forced: Compare although the machines or settings differ.

    Raises:
        StoreError: A run cannot be read.
        IncomparableError: They were not measured under the same conditions; the field is named.
        NothingMeasuredError: They have no cell in common.
    """
    return compare_stored(read_run(base, results), read_run(head, results), is_forced=is_forced)


def compare_stored(ours: StoredRun, theirs: StoredRun, *, is_forced: bool = False) -> Nominated:
    """Put two runs side by side that are read already; else as `compare_runs`.

    Raises:
        IncomparableError: They were not measured under the same conditions; the field is named.
        NothingMeasuredError: They have no cell in common.
    """
    before, after = ({cell.key: cell for cell in run.cells} for run in (ours, theirs))
    common = [key for key in before if key in after]
    if not common:
        raise NothingMeasuredError(f"{ours.name} and {theirs.name} have no cell in common; nothing can be compared")
    notes = tuple(dict.fromkeys(text for key in common for text in _differences(before[key], after[key])))
    if notes and not is_forced:
        raise IncomparableError(f"{notes[0]}; measure both on one machine, or look anyway with --force")
    nominations = tuple(_nominate(before.get(key), after.get(key)) for key in dict.fromkeys([*before, *after]))
    suspects = [after[n.cell_key] for n in nominations if n.is_suspect]
    commands = ab_commands(ours.commit, theirs.commit, [c.cell for c in suspects if c.cell is not None])
    return Nominated(nominations=nominations, commands=commands, notes=notes)


def read_run(given: str, results: Path) -> StoredRun:
    """Read a stored run of either kind.

    Raises:
        StoreError: There is none, or it cannot be read.
    """
    path = Path(given)
    if path.is_file() and path.name != "run.json":
        return _read_pytest_benchmark(path)
    folder = RunFolder.open(path.parent if path.name == "run.json" else given, results, prefers_records=True)
    return stored_run(folder.path.name, folder.records())


def stored_run(name: str, records: Sequence[Record]) -> StoredRun:
    """Take of each record what a comparison needs."""
    cells = []
    for record in records:
        steps = [sample.seconds for sample in record.samples if sample.phase is Phase.STEP and sample.seconds]
        is_ok = record.outcome is Outcome.OK and bool(steps)
        cells.append(
            StoredCell(
                id=record.cell.id,
                key=record.cell.key,
                cell=record.cell,
                environment=record.environment,
                seconds=statistics.median(map(statistics.median, steps)) if is_ok else None,
                processes=len(steps),
                reason="" if is_ok else f"{record.outcome.value}: {record.reason or 'no step was timed'}",
            )
        )
    return StoredRun(name=name, cells=tuple(cells))


def _nominate(base: StoredCell | None, head: StoredCell | None) -> Nomination:
    there = head or base
    assert there is not None  # the key came from one of them
    shift = math.log(head.seconds / base.seconds) if base and head and base.seconds and head.seconds else None
    missing = "; ".join(
        f"{name}: {one.reason if one is not None else 'no such cell'}"
        for name, one in (("base", base), ("head", head))
        if one is None or one.seconds is None
    )
    return Nomination(
        cell_id=there.id,
        cell_key=there.key,
        base=base.seconds if base else None,
        head=head.seconds if head else None,
        shift=shift,
        is_suspect=shift is not None and abs(shift) >= math.log1p(NOMINATE_AT),
        missing=missing,
        processes=(base.processes if base else 0, head.processes if head else 0),
    )


def _differences(base: StoredCell, head: StoredCell) -> Sequence[str]:
    """Say why two cells were not measured under the same conditions, one sentence per field."""
    if base.environment is None or head.environment is None:
        side = "base" if base.environment is None else "head"
        return [f"{side} does not say on which machine it was measured"]
    ours, theirs = base.environment.comparable_fields(), head.environment.comparable_fields()
    return [f"{name} differs: {ours[name]!r} and {theirs[name]!r}" for name in ours if ours[name] != theirs[name]]


def _read_pytest_benchmark(path: Path) -> StoredRun:
    session = read_session(path)
    cells = tuple(
        StoredCell(
            id=benchmark.cell.id if benchmark.cell else benchmark.name,
            key=benchmark.cell.key if benchmark.cell else benchmark.name,
            cell=benchmark.cell,
            environment=session.environment,
            seconds=benchmark.median_seconds,
        )
        for benchmark in session.benchmarks
    )
    return StoredRun(name=session.name, cells=cells)
