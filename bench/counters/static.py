"""Everything that can be counted of a cell before it runs: no clock, no allocation, the same answer every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bench.core.cell import Cell
from bench.core.record import Advice, AdviceKind, Counters
from bench.core.workload import Workload
from bench.counters.dispatches import count_operations
from bench.counters.flops import count_workload
from bench.counters.predict import predict
from bench.counters.saved import count_saved_bytes


def count(workload: Workload, cell: Cell, *, opinions: bool = True) -> tuple[Counters, tuple[Advice, ...]]:
    """Count parameters, FLOPs, layers, dispatched operations, saved bytes and the predicted peak of one step.

    Args:
        workload: What to count.
        cell: Mode, batch size, precision, optimizer; its device decides only how allocations are rounded.
        opinions: Ask torch's counter, fvcore and the model's closed form too.

    Returns:
        What could be counted, and the doubts. A counter that fails leaves its fields None and an advice with the reason;
        the others stand.
    """
    counters, advice = count_workload(
        workload, mode=cell.mode, batch_size=cell.batch_size, precision=cell.precision, opinions=opinions
    )
    doubts = list(advice)

    def attempt(name: str, counter: Callable[[], Any]) -> Any:
        try:
            return counter()
        except Exception as error:  # noqa: BLE001 - a user's model can raise anything; the reason is kept and reported
            reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            doubts.append(Advice(kind=AdviceKind.COUNT_FAILED, facts=(("counter", name), ("reason", reason))))
            return None

    operations = attempt("operations", lambda: count_operations(workload, cell))
    if operations is not None:
        counters = replace(counters, dispatches=operations.dispatches, bytes_touched=operations.bytes_touched)
    return replace(
        counters,
        saved_bytes=attempt("saved bytes", lambda: count_saved_bytes(workload, cell)),
        predicted_peak=attempt("predicted peak", lambda: predict(workload, cell)),
    ), tuple(doubts)
