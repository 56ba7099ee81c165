"""Two stored runs side by side: nominate suspects for `bench ab`; never judge.

A run is a folder of `results/`, by path, id or `latest`, or a JSON file of pytest-benchmark written with our plugin.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from bench.core.advice import AdviceKind
from bench.core.cell import Cell
from bench.core.comparison import Nominated, Nomination, Side
from bench.core.environment import Environment
from bench.core.estimate import Estimate
from bench.core.generation import Generation, Sampled
from bench.core.record import Phase, Record
from bench.stats.generation import estimates_of
from bench.store.runs import RunFolder
from bench.store.stored import StoredRun, read_stored_run, read_stored_session
from bench.suite.commands import ab_commands

NOMINATE_AT = 0.05
"""A change of this size, up or down, is worth a look; two runs of unchanged code differ by more often enough."""

_APART = {
    AdviceKind.BUSY_MACHINE: "a busy machine",
    AdviceKind.THROTTLED_CLOCK: "a throttled clock",
    AdviceKind.SETTINGS_CHANGED: "settings that the model changed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timed:
    """One cell of a stored run, or one part of a case; `step` is its median, None if it did not end OK: see reason."""

    id: str
    key: str
    cell: Cell | None
    environment: Environment | None
    step: Estimate | None
    processes: int = 1
    reason: str = ""
    doubts: tuple[AdviceKind, ...] = ()
    tokens: int | None = None


def compare_stored(ours: StoredRun, theirs: StoredRun, *, is_forced: bool = False) -> Nominated:
    """Compare two stored runs, the base first.

    With `is_forced` cells are compared although machines or settings differ; those of a busy side stand apart all the
    same.
    """
    before, after = ({cell.key: cell for cell in _timed(run)} for run in (ours, theirs))
    base, head = _side(ours), _side(theirs)
    if not before.keys() & after.keys():
        return Nominated(base=base, head=head)
    nominations = tuple(
        _nominate(before.get(key), after.get(key), is_forced=is_forced) for key in dict.fromkeys([*before, *after])
    )
    suspects = [after[n.cell_key] for n in nominations if n.is_suspect]
    commits = _commit(before.values()), _commit(after.values())
    commands = ab_commands(*commits, [one.cell for one in suspects if one.cell is not None])
    return Nominated(base=base, head=head, nominations=nominations, commands=commands)


def _side(run: StoredRun) -> Side:
    measured: tuple[Record | Generation | Sampled, ...] = (*run.records, *run.generations, *run.images)
    busy = [m.state.other_busy_cores for m in measured if m.state and m.state.other_busy_cores is not None]
    return Side(
        id=run.id,
        started_at=run.info.started_at,
        command=run.info.command,
        environment=run.environment,
        busy_cores=(min(busy), max(busy)) if busy else None,
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
    """Read from each record, case or benchmark what a comparison needs."""
    steps = {one.record.cell.key: one.summary.step for one in run.measured}
    cells = []
    for record in run.records:
        step = steps.get(record.cell.key)
        cells.append(
            _Timed(
                id=record.cell.id,
                key=record.cell.key,
                cell=record.cell,
                environment=record.environment,
                step=step,
                processes=len(record.process_seconds(Phase.STEP)),
                reason="" if step else f"{record.outcome.value}: {record.reason or 'no step was timed'}",
                doubts=tuple(dict.fromkeys(advice.kind for advice in record.advice)),
                tokens=_tokens(record),
            )
        )
    cases: tuple[Generation | Sampled, ...] = (*run.generations, *run.images)
    cells += (
        _Timed(
            id=f"{one.case.id} {name}",
            key=f"{one.case.key} {name}",
            cell=None,  # `bench ab` measures cells
            environment=one.environment,
            step=estimate,
            processes=len(one.times.processes if one.times else ()) or 1,
            reason="" if estimate else f"{one.outcome.value}: {one.reason or 'nothing was timed'}",
            doubts=tuple(dict.fromkeys(advice.kind for advice in one.advice)),
        )
        for one in cases
        for name, estimate in estimates_of(one).items()
    )
    cells += (
        _Timed(
            id=benchmark.cell.id if benchmark.cell else benchmark.name,
            key=benchmark.cell.key if benchmark.cell else benchmark.name,
            cell=benchmark.cell,
            environment=run.environment,
            step=benchmark.step,
            reason="" if benchmark.step else "its median is not above 0",
            doubts=benchmark.doubts,
        )
        for benchmark in run.benchmarks
    )
    return cells


def _commit(cells: Collection[_Timed]) -> str | None:
    """Return the commit all cells were measured at, if it was clean and there is only one."""
    commits = {c.environment.git_commit for c in cells if c.environment and not c.environment.git_dirty}
    is_clean = all(c.environment is not None and not c.environment.git_dirty for c in cells)
    return commits.pop() if is_clean and len(commits) == 1 else None


def _nominate(base: _Timed | None, head: _Timed | None, *, is_forced: bool) -> Nomination:
    there = head or base
    assert there is not None  # the key came from one of them
    missing = "; ".join(
        f"{name}: {one.reason if one is not None else 'no such cell'}"
        for name, one in (("base", base), ("head", head))
        if one is None or one.step is None
    )
    shift, low, high = _shift(base.step, head.step) if base and head and base.step and head.step else (None,) * 3
    apart = _apart(base, head, is_forced=is_forced) if base and head and shift is not None else ""
    is_large = shift is not None and abs(shift) >= math.log1p(NOMINATE_AT)
    is_beyond_noise = low is None or high is None or low > 0 or high < 0
    return Nomination(
        cell_id=there.id,
        cell_key=there.key,
        base=base.step.point if base and base.step else None,
        head=head.step.point if head and head.step else None,
        shift=shift,
        low=low,
        high=high,
        base_doubts=base.doubts if base else (),
        head_doubts=head.doubts if head else (),
        apart=apart,
        is_suspect=is_large and is_beyond_noise and not apart,
        missing=missing,
        processes=(base.processes if base else 0, head.processes if head else 0),
        tokens=there.tokens,
    )


def _tokens(record: Record) -> int | None:
    """Count the tokens of a step, of all its examples."""
    cell, tokens = record.cell, record.tokens_per_example
    return None if tokens is None else tokens * cell.batch_size * cell.world_size


def _shift(base: Estimate, head: Estimate) -> tuple[float, float | None, float | None]:
    """Return log(head / base) and its interval, from the two intervals (MOVER: Zou and Donner, Stat. Med. 27, 2008).

    Both sides' distances from their ends are squared, added, and rooted, on the scale of logs.
    """
    shift = math.log(head.point / base.point)
    if not base.low or not base.high or not head.low or not head.high:
        return shift, None, None
    below = math.hypot(math.log(head.point / head.low), math.log(base.high / base.point))
    above = math.hypot(math.log(head.high / head.point), math.log(base.point / base.low))
    return shift, shift - below, shift + above


def _apart(base: _Timed, head: _Timed, *, is_forced: bool) -> str:
    """Explain why two cells may not be compared; empty if they may."""
    reasons = [] if is_forced else [_other_environment(base, head)]
    for kind, words in _APART.items():
        sides = [name for name, one in (("base", base), ("head", head)) if kind in one.doubts]
        reasons += [f"{' and '.join(sides)}: {words}"] if sides else []
    return "; ".join(filter(None, reasons))


def _other_environment(base: _Timed, head: _Timed) -> str:
    """Name which fields of the fingerprint differ; empty if none does."""
    if base.environment is None or head.environment is None:
        silent = [name for name, one in (("base", base), ("head", head)) if one.environment is None]
        return f"{' and '.join(silent)}: no word on which machine it was measured"
    if base.environment.fingerprint == head.environment.fingerprint:
        return ""
    ours, theirs = base.environment.comparable_fields(), head.environment.comparable_fields()
    fields = [name.replace("_", " ") for name in ours if ours[name] != theirs[name]]
    return f"another environment: {', '.join(fields)}"
