"""Count cells without timing them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.core.cell import Cell
from bench.core.errors import BenchError
from bench.core.record import Advice, AdviceKind, Counters, Outcome, Record
from bench.runner import processes
from bench.runner.answers import Counted
from bench.runner.plan import make_plan
from bench.runner.stamp import Stamp


def count_all(
    cells: Sequence[Cell], *, method: str = "forkserver", timeout_seconds: float | None = None
) -> Iterator[tuple[Cell, Counted]]:
    """Count cells side by side, each in a fresh process, and yield them in order; a failure is an advice.

    Counting is slow Python and needs no quiet machine, so it uses all cores.
    """

    def attempt(cell: Cell) -> Counted:
        ending = processes.call("bench.runner.worker:count_cell", cell, method=method, timeout_seconds=timeout_seconds)
        if ending.outcome is Outcome.OK:
            return ending.value  # type: ignore[no-any-return]
        facts = (("counter", "all"), ("reason", ending.reason or ending.outcome.value))
        return Counted(counters=Counters(), advice=(Advice(kind=AdviceKind.COUNT_FAILED, facts=facts),))

    # Inline, the processes are this one: two threads would share torch's global state.
    workers = 1 if method == "inline" else min(len(cells), len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from zip(cells, pool.map(attempt, cells), strict=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def count_cells(cells: Sequence[Cell], *, method: str = "forkserver") -> tuple[Record, ...]:
    """Count parameters, FLOPs, operations and the predicted peak of one step of each cell.

    Raises:
        BenchError: A model is not there or cannot be imported.
    """
    plan = make_plan(cells, method=method)
    records = []
    for cell, counted in count_all(plan.cells, method=method):
        stamp = Stamp(cell)
        is_counted = counted.counters.parameters is not None
        reason = None if is_counted else _reason(counted)
        outcome = Outcome.OK if is_counted else Outcome.FAILED
        records.append(stamp.record(outcome, reason=reason, counters=counted.counters, advice=counted.advice))
    return tuple(records)


def _reason(counted: Counted) -> str:
    facts = dict(counted.advice[0].facts) if counted.advice else {}
    return str(facts.get("reason", "no reason was given"))


def require_counted(records: Sequence[Record]) -> None:
    """Refuse when nothing at all could be counted.

    Raises:
        BenchError: No record is OK; the message is the first one's reason.
    """
    if not any(record.outcome is Outcome.OK for record in records):
        raise BenchError(f"{records[0].cell.id} could not be counted: {records[0].reason}")
