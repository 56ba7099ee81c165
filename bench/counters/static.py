"""Everything that can be counted of a cell before it runs: no clock, no allocation, the same answer every time."""

from __future__ import annotations

from dataclasses import replace

from bench.core.cell import Cell
from bench.core.record import Advice, AdviceKind, Counters
from bench.core.workload import Workload
from bench.counters.dispatches import OperationCounter
from bench.counters.fakes import fake_step
from bench.counters.flops import count_workload
from bench.counters.predict import block_bytes
from bench.counters.saved import count_saved
from bench.counters.timeline import track_steps


def count(
    workload: Workload, cell: Cell, *, opinions: bool = True, steps: bool = True
) -> tuple[Counters, tuple[Advice, ...]]:
    """Count parameters, FLOPs, layers, dispatched operations, saved bytes and the predicted peak of one step.

    Args:
        workload: What to count.
        cell: Mode, batch size, precision, optimizer; its device decides only how allocations are rounded.
        opinions: Ask torch's counter, fvcore and the model's closed form too.
        steps: Count operations, saved bytes and the predicted peak too, which takes most of the time: half a minute for
            70 billion parameters, whose FLOPs take a second.

    Returns:
        What could be counted, and the doubts. A counter that fails leaves its fields None and an advice with the
        reason; the others stand.
    """
    counters, advice = count_workload(
        workload, mode=cell.mode, batch_size=cell.batch_size, precision=cell.precision, opinions=opinions
    )
    if not steps:
        return counters, advice
    try:
        return _with_step_counts(counters, workload, cell), advice
    except Exception as error:  # noqa: BLE001 - a user's model can raise anything; the reason is kept and reported
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        facts = (("counter", "operations, saved bytes and predicted peak"), ("reason", reason))
        return counters, (*advice, Advice(kind=AdviceKind.COUNT_FAILED, facts=facts))


def _with_step_counts(counters: Counters, workload: Workload, cell: Cell) -> Counters:
    """Add what needs whole steps on fake tensors; one pass for all, because faking a step costs more than counting it.

    The first step creates the optimizer's state, the second is steady: the peak is of both, the operations of the
    second.
    """
    operations = OperationCounter()
    with fake_step(workload, cell) as step:
        timeline = track_steps(step, 2, around_last=operations)
        saved = count_saved(step)
    counted = operations.result()
    return replace(
        counters,
        dispatches=counted.dispatches,
        bytes_touched=counted.bytes_touched,
        saved_bytes=saved.activations_bytes,
        predicted_peak=timeline.peak(round_to=block_bytes(cell)),
    )
