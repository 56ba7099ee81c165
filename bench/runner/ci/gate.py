"""Count the cells of a suite and hold them against the counters on record: exact, no statistics.

cells of the suite -> make_plan -> count_all (side by side, no second opinions) -> rows
rows, rows on record of this suite, torch and device -> judge_rows -> Gate

More fails, less passes, missing and extra fail. Operations are judged one by one, not only by their sum: an operation
that is called more often fails although the sum fell. Fused and foreach variants trade many calls for a few that do
other work; whether that is a gain, no count can say. A person decides, and puts the new row on record.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.core.cell import Cell, Parallel
from bench.core.errors import BenchError, NothingMeasuredError, UsageError
from bench.core.gate import CounterChange, CounterRow, GateRow, GateVerdict
from bench.core.record import Counters
from bench.runner.counting import count_all, failure_of
from bench.runner.plan import make_plan
from bench.runner.session import builtin_suites, suite_path
from bench.store.expected import COUNTERS, read_expected, write_expected
from bench.suite.file import read_suite
from bench.suite.sweep import expand

DEFAULT_SUITE = "gate"
EXPECTED = Path("results") / "expected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a gate found.

    Attributes:
        suite: Name of a built-in suite, or path of a suite file within the repository.
        torch: `major.minor` of the torch that counted.
        folder: Where the rows on record are.
        rows: One per cell of the suite, then those on record only.
    """

    suite: str
    torch: str
    folder: Path
    rows: tuple[GateRow, ...]

    @property
    def is_open(self) -> bool:
        """Whether every cell passes."""
        return all(row.is_passing for row in self.rows)


def check_gate(suite: str = DEFAULT_SUITE, *, folder: Path = EXPECTED, timeout_seconds: float | None = None) -> Gate:
    """Count a suite's cells and compare them with what is on record. Times nothing, allocates no model.

    Raises:
        NothingMeasuredError: There is no row on record for this suite and this version of torch.
        BenchError: The suite or the rows on record cannot be read, or a model or device is not there.
    """
    on_record = read_expected(folder)  # a broken file is found before anything is counted
    name, cells = _cells(suite)
    torch, found, reasons = _count(name, cells, timeout_seconds)
    devices = {row.cell.device for row in found}
    ours = _rows_of(on_record, name, torch, devices)
    if not ours:
        others = sorted({row.torch for row in on_record if row.suite == name})
        known = f"; on record for torch {', '.join(others)}" if others else ""
        raise NothingMeasuredError(
            f"no counters of suite {name!r} for torch {torch} on {', '.join(sorted(devices))} in {folder}{known}. "
            f"Put them on record: {update_command(suite, folder)}"
        )
    return Gate(suite=name, torch=torch, folder=folder, rows=judge_rows(ours, found, reasons))


def update_gate(suite: str = DEFAULT_SUITE, *, folder: Path = EXPECTED, timeout_seconds: float | None = None) -> Gate:
    """Record a suite's counters; rows of other suites, versions of torch and kinds of device stay.

    Returns:
        What changed, as `check_gate` would have found it before.

    Raises:
        BenchError: See `check_gate`; also where a cell could not be counted: then nothing is written.
    """
    on_record = read_expected(folder)
    name, cells = _cells(suite)
    torch, found, reasons = _count(name, cells, timeout_seconds)
    devices = {row.cell.device for row in found}
    ours = _rows_of(on_record, name, torch, devices)
    rows = judge_rows(ours, found, reasons)
    for row in rows:
        if row.verdict is GateVerdict.UNCOUNTED:
            raise BenchError(f"nothing was written: {row.cell.id} could not be counted: {row.reason}")
    write_expected(folder, [*(row for row in on_record if not _is_of(row, name, torch, devices)), *found])
    return Gate(suite=name, torch=torch, folder=folder, rows=rows)


def update_command(suite: str, folder: Path) -> str:
    """Return the command line that puts a suite on record."""
    where = "" if folder == EXPECTED else f" --expected {folder}"
    return f"bench gate{'' if suite == DEFAULT_SUITE else f' {suite}'}{where} --update"


def _cells(suite: str) -> tuple[str, tuple[Cell, ...]]:
    path = suite_path(suite)
    if path is None:
        raise UsageError(f"no suite {suite!r}; give a file (*.toml) or one of: {', '.join(builtin_suites())}")
    return (_key(path) if suite.endswith(".toml") else suite), expand(read_suite(path).sweeps)


def _key(path: Path) -> str:
    """Name a suite file by its path within the repository, wherever the command was started."""
    path = path.resolve()
    top = next((folder for folder in path.parents if (folder / ".git").exists()), Path.cwd().resolve())
    return Path(os.path.relpath(path, top)).as_posix()


def _rows_of(rows: Sequence[CounterRow], suite: str, torch: str, devices: set[str]) -> list[CounterRow]:
    """Pick a suite's rows; those of its stem where there are none, as all suite files had them until 2026-11-29.

    A stem may be that of several files, so its rows are only read: nobody knows whose they are.
    """
    ours = [row for row in rows if _is_of(row, suite, torch, devices)]
    stem = Path(suite).stem
    if ours or stem in builtin_suites():
        return ours
    return [row for row in rows if _is_of(row, stem, torch, devices)]


def _count(
    suite: str, cells: Sequence[Cell], timeout_seconds: float | None
) -> tuple[str, tuple[CounterRow, ...], tuple[tuple[CounterRow, str], ...]]:
    """Count each different cell once: the version of torch, the rows, and why some could not be counted."""
    plan = make_plan(cells, timeout_seconds=timeout_seconds)
    torch = ".".join(next(iter(plan.environments.values())).torch.split(".")[:2])
    unique = {_counted_as(cell): cell for cell in reversed(plan.cells)}
    ordered = tuple(dict.fromkeys(map(_counted_as, plan.cells)))
    rows, reasons = [], []
    answers = count_all([unique[cell] for cell in ordered], opinions=False, timeout_seconds=timeout_seconds)
    for cell, (_, counted) in zip(ordered, answers, strict=True):
        counters = _named(counted.counters)
        row = CounterRow(suite=suite, torch=torch, cell=cell, counters=counters, dispatches=counted.counters.dispatches)
        rows.append(row)
        if all(value is None for _, value in counters):
            reasons.append((row, failure_of(counted)))
    return torch, tuple(rows), tuple(reasons)


def _counted_as(cell: Cell) -> Cell:
    """Leave out what changes no count."""
    return replace(
        cell, device=cell.device.partition(":")[0], threads=None, world_size=1, nodes=1, parallel=Parallel.DDP, seed=0
    )


def _named(counters: Counters) -> tuple[tuple[str, int | None], ...]:
    flops, peak = counters.flops, counters.predicted_peak
    values = {
        "parameters": counters.parameters,
        "flops_forward": flops.forward if flops else None,
        "flops_backward": flops.backward if flops else None,
        # An operation that loses its formula must not look like FLOPs that were saved.
        "uncounted_calls": sum(calls for _, calls in flops.uncounted) if flops else None,
        "dispatch_count": counters.dispatch_count,
        "bytes_touched": counters.bytes_touched,
        "saved_bytes": counters.saved_bytes,
        "predicted_peak_bytes": peak.total_bytes if peak else None,
    }
    return tuple((name, values[name]) for name in COUNTERS)


def _is_of(row: CounterRow, suite: str, torch: str, devices: set[str]) -> bool:
    return row.suite == suite and row.torch == torch and row.cell.device in devices


Counts = Sequence[tuple[str, int | None]]


def judge_rows(
    expected: Sequence[CounterRow], found: Sequence[CounterRow], reasons: Sequence[tuple[CounterRow, str]] = ()
) -> tuple[GateRow, ...]:
    """Compare the rows of one suite, one version of torch and one kind of device; rows are joined by their cell.

    The order of those found is kept, and what is on record only comes last. `reasons` are of those that could not be
    counted.
    """
    on_record = {row.cell: row for row in expected}
    failed = {row.cell: reason for row, reason in reasons}
    judged = [_judge(on_record.get(row.cell), row, failed.get(row.cell)) for row in found]
    cells = {row.cell for row in found}
    extra = [GateRow(verdict=GateVerdict.EXTRA, expected=row) for row in expected if row.cell not in cells]
    return (*judged, *extra)


def _judge(expected: CounterRow | None, found: CounterRow, failure: str | None) -> GateRow:
    if failure is not None:
        return GateRow(verdict=GateVerdict.UNCOUNTED, expected=expected, found=found, reason=failure)
    if expected is None:
        return GateRow(verdict=GateVerdict.MISSING, found=found)
    counters = changes(expected.counters, found.counters, absent=None)
    operations = changes(expected.dispatches, found.dispatches, absent=0)
    if not counters and not operations:
        verdict = GateVerdict.SAME
    elif any(change.is_more for change in (*counters, *operations)):
        verdict = GateVerdict.MORE
    else:
        verdict = GateVerdict.LESS
    return GateRow(verdict=verdict, expected=expected, found=found, counters=counters, operations=operations)


def changes(expected: Counts, found: Counts, *, absent: int | None) -> tuple[CounterChange, ...]:
    """Name what differs, in the order of what was found; `absent` is the value of a name that one side lacks."""
    before, after = dict(expected), dict(found)
    names = dict.fromkeys((*after, *before))
    pairs = ((name, before.get(name, absent), after.get(name, absent)) for name in names)
    return tuple(CounterChange(name=name, expected=old, found=new) for name, old, new in pairs if old != new)
