"""Two stored runs side by side: nominate suspects for `bench ab`; never judge.

A run is a folder of `results/`, by path, id or `latest`, or a JSON file of pytest-benchmark written with our plugin.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.cell import Cell
from bench.core.comparison import Nominated, Nomination
from bench.core.environment import Environment
from bench.core.errors import IncomparableError, NothingMeasuredError
from bench.core.record import Outcome, Phase
from bench.store.runs import RunFolder
from bench.store.stored import StoredRun, read_stored_run, read_stored_session
from bench.suite.command import ab_commands

NOMINATE_AT = 0.05
"""A change of this size, up or down, is worth a look; two runs of unchanged code differ by more often enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timed:
    """One cell of a stored run; `seconds` is the median step, None if it did not end OK, and `reason` says why."""

    id: str
    key: str
    cell: Cell | None
    environment: Environment | None
    seconds: float | None
    processes: int = 1
    reason: str = ""


def compare_stored(ours: StoredRun, theirs: StoredRun, *, is_forced: bool = False) -> Nominated:
    """Put two stored runs side by side.

    Args:
        ours: The base.
        theirs: The head.
        is_forced: Compare although the machines or settings differ.

    Raises:
        IncomparableError: They were not measured under the same conditions; the field is named.
        NothingMeasuredError: They have no cell in common.
    """
    before, after = ({cell.key: cell for cell in _timed(run)} for run in (ours, theirs))
    common = [key for key in before if key in after]
    if not common:
        raise NothingMeasuredError(f"{ours.id} and {theirs.id} have no cell in common; nothing can be compared")
    notes = tuple(dict.fromkeys(text for key in common for text in _differences(before[key], after[key])))
    if notes and not is_forced:
        raise IncomparableError(f"{notes[0]}; measure both on one machine, or look anyway with --force")
    nominations = tuple(_nominate(before.get(key), after.get(key)) for key in dict.fromkeys([*before, *after]))
    suspects = [after[n.cell_key] for n in nominations if n.is_suspect]
    commits = _commit(before.values()), _commit(after.values())
    return Nominated(
        base=ours.id,
        head=theirs.id,
        nominations=nominations,
        commands=ab_commands(*commits, [one.cell for one in suspects if one.cell is not None]),
        notes=notes,
    )


def read_run(given: str, results: Path) -> StoredRun:
    """Read a stored run: a folder, or a JSON file of pytest-benchmark.

    Raises:
        StoreError: There is none, or it cannot be read.
    """
    path = Path(given)
    if path.is_file() and path.name != "run.json":
        return read_stored_session(path)
    folder = path.parent if path.name == "run.json" else given
    return read_stored_run(RunFolder.open(folder, results, prefers_records=True))


def _timed(run: StoredRun) -> list[_Timed]:
    """Take of each record or benchmark what a comparison needs."""
    cells = []
    for record in run.records:
        steps = [sample.seconds for sample in record.samples if sample.phase is Phase.STEP and sample.seconds]
        is_ok = record.outcome is Outcome.OK and bool(steps)
        cells.append(
            _Timed(
                id=record.cell.id,
                key=record.cell.key,
                cell=record.cell,
                environment=record.environment,
                seconds=statistics.median(map(statistics.median, steps)) if is_ok else None,
                processes=len(steps),
                reason="" if is_ok else f"{record.outcome.value}: {record.reason or 'no step was timed'}",
            )
        )
    cells += (
        _Timed(
            id=benchmark.cell.id if benchmark.cell else benchmark.name,
            key=benchmark.cell.key if benchmark.cell else benchmark.name,
            cell=benchmark.cell,
            environment=run.environment,
            seconds=benchmark.median_seconds,
        )
        for benchmark in run.benchmarks
    )
    return cells


def _commit(cells: Collection[_Timed]) -> str | None:
    """Return the commit all cells were measured at, if it was clean and there is only one."""
    commits = {c.environment.git_commit for c in cells if c.environment and not c.environment.git_dirty}
    is_clean = all(c.environment is not None and not c.environment.git_dirty for c in cells)
    return commits.pop() if is_clean and len(commits) == 1 else None


def _nominate(base: _Timed | None, head: _Timed | None) -> Nomination:
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


def _differences(base: _Timed, head: _Timed) -> Sequence[str]:
    """Say why two cells were not measured under the same conditions, one sentence per field."""
    if base.environment is None or head.environment is None:
        side = "base" if base.environment is None else "head"
        return [f"{side} does not say on which machine it was measured"]
    ours, theirs = base.environment.comparable_fields(), head.environment.comparable_fields()
    return [f"{name} differs: {ours[name]!r} and {theirs[name]!r}" for name in ours if ours[name] != theirs[name]]
