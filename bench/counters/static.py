"""Everything that can be counted of a cell before it runs: no clock, no allocation, the same answer every time.

Count the bytes that autograd saves in forward for backward: what activation checkpointing trades for time.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from bench.core.advice import Advice, AdviceKind
from bench.core.cell import Cell, CompileMode, Mode, Precision
from bench.core.record import Counters
from bench.core.workload import Workload
from bench.counters.build import refuse_large_workload
from bench.counters.cache import remembered_in_common
from bench.counters.dispatches import OperationCounter, StepOperations
from bench.counters.fakes import fake_step, real_step, without_collector
from bench.counters.flops import count_seeded, error_text
from bench.counters.memory import block_bytes
from bench.counters.tensors import storages_of
from bench.counters.timeline import MemoryTimeline, sum_saved, track_steps
from bench.device.prepare import prepare
from bench.device.step import LongStep, OwnStep, Step, needs_closure


def count_saved(step: Step) -> int:
    """Run forward and loss of a step, real or fake, and count the bytes that they save of one batch; see `sum_saved`.

    Of a step of one's own, all that is saved in it, though not all of it at once.

    Counts the whole storage of a saved view. Tensors that a custom function hides in its context by other means than
    `save_for_backward` are not seen; what a checkpointed part would save is not counted, because it is not kept.
    """
    saved: dict[int, int] = {}
    alive: list[torch.UntypedStorage] = []  # so that no address is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        for storage in storages_of(tensor):
            saved[storage._cdata] = storage.nbytes()
            alive.append(storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        if isinstance(step, OwnStep):
            step()
        else:
            outputs = step.forward()
            if step.is_training:
                step.compute_loss(outputs)
    return sum_saved(step, saved)


def _run_steps(step: Step) -> tuple[StepOperations, int, MemoryTimeline]:
    operations = OperationCounter()
    timeline = track_steps(step, operations)
    saved = count_saved(step) if timeline.saved is None else timeline.saved
    return operations.result(), saved, timeline


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
    with without_collector(), remembered_in_common():
        counters, advice, has_drawn = _count_once(workload, cell, opinions=opinions, steps=steps)
        if not has_drawn:
            return counters, advice
        other, _, _ = _count_once(workload, replace(cell, seed=cell.seed + 1), opinions=False, steps=steps)
    facts = tuple(
        (name, value)
        for name, one, two in zip(_COMPARED, _compared(counters), _compared(other), strict=True)
        if one is not None and two is not None and one != two
        for value in (one, two)
    )
    return counters, (*advice, Advice(kind=AdviceKind.RANDOM_STEP, facts=facts)) if facts else advice


_COMPARED = ("forward_flops", "backward_flops", "operations", "touched_bytes", "saved_bytes", "predicted_peak_bytes")


def _compared(counters: Counters) -> tuple[int | None, ...]:
    flops, peak = counters.flops, counters.predicted_peak
    return (
        flops.forward if flops else None,
        flops.backward if flops else None,
        counters.dispatch_count,
        counters.bytes_touched,
        counters.saved_bytes,
        peak.total_bytes if peak else None,
    )


def _count_once(
    workload: Workload, cell: Cell, *, opinions: bool, steps: bool
) -> tuple[Counters, tuple[Advice, ...], bool]:
    """Count with the cell's seed; also return whether another seed may count otherwise."""
    counters, advice, has_drawn = count_seeded(
        workload,
        mode=cell.mode,
        batch_size=cell.batch_size,
        precision=cell.precision,
        opinions=opinions,
        seed=cell.seed,
    )
    if cell.grad_mode is not None:  # what was asked for is no doubt
        advice = tuple(one for one in advice if one.kind is not AdviceKind.GRAD_MODE)
    try:
        counters = _whole_step(counters, workload, cell)
    except Exception as error:  # noqa: BLE001 - as below; the FLOPs of one evaluation are not those of the step
        counters = replace(counters, flops=None, opinions=(), layers=())
        facts = (("counter", "evaluations of the optimizer's closure"), ("reason", error_text(error)))
        advice = (*advice, Advice(kind=AdviceKind.COUNT_FAILED, facts=facts))
    if not steps or (counters.flops is None and counters.parameters is None):
        return counters, advice, has_drawn
    try:
        return _with_step_counts(counters, workload, cell), advice, has_drawn
    except Exception as error:  # noqa: BLE001 - a user's model can raise anything; the reason is kept and reported
        if counters.flops is None:  # the same error once more
            return counters, advice, has_drawn
        facts = (("counter", "operations, saved bytes and predicted peak"), ("reason", error_text(error)))
        return counters, (*advice, Advice(kind=AdviceKind.COUNT_FAILED, facts=facts)), has_drawn


def _whole_step(counters: Counters, workload: Workload, cell: Cell) -> Counters:
    """Multiply the FLOPs of one batch by the batches of a step: those that accumulate, those that a closure evaluates.

    How often a closure is evaluated depends on values, so a step is run for it, on real tensors in fp32.
    """
    if counters.flops is None or cell.mode is not Mode.TRAIN or workload.train_step is not None:
        return counters
    times, words = cell.accumulate, [f"{cell.accumulate} batches per step"] if cell.accumulate > 1 else []
    if cell.optimizer is None and needs_closure(_own_optimizer(workload)):
        refuse_large_workload(workload)
        plain = replace(cell, device="cpu", precision=Precision.FP32, compile=CompileMode.NONE, clip_norm=None)
        with prepare(workload, plain) as step:
            assert isinstance(step, LongStep)
            step()
            evaluations = step.evaluations
        times *= evaluations
        words.append(f"{evaluations} evaluations of the closure in the first step, as many as the values ask for")
    if not words:
        return counters

    def multiplied(value: int | None) -> int | None:
        return None if value is None else value * times

    flops = counters.flops
    return replace(
        counters,
        flops=replace(
            flops,
            forward=multiplied(flops.forward),
            backward=multiplied(flops.backward),
            executed_forward=multiplied(flops.executed_forward),
            executed_backward=multiplied(flops.executed_backward),
            method=f"{flops.method}; {', '.join(words)}",
        ),
        opinions=tuple(
            replace(
                one,
                forward_flops=multiplied(one.forward_flops),
                backward_flops=multiplied(one.backward_flops),
            )
            for one in counters.opinions
        ),
        layers=tuple(
            replace(
                layer,
                calls=layer.calls * times,
                flops_forward=multiplied(layer.flops_forward),
                flops_backward=multiplied(layer.flops_backward),
            )
            for layer in counters.layers
        ),
    )


def _own_optimizer(workload: Workload) -> torch.optim.Optimizer | None:
    """Make the workload's optimizer of a parameter of no size, to see what kind it is."""
    try:
        return workload.make_optimizer([torch.nn.Parameter(torch.zeros(1))])
    except Exception:  # noqa: BLE001 - it wants parameters of its own model; counting them names the reason
        return None


def _with_step_counts(counters: Counters, workload: Workload, cell: Cell) -> Counters:
    """Add what needs whole steps on fake tensors; one pass for all, because faking a step costs more than counting it.

    The first step creates the optimizer's state, the second is steady: the peak is of both, the operations of the
    second.
    """
    flops = counters.flops
    try:
        with fake_step(workload, cell) as step:
            counted, saved, timeline = _run_steps(step)
    except Exception as error:  # noqa: BLE001 - a model that needs values may raise anything; real tensors have them
        with real_step(workload, cell) as step:
            counted, saved, timeline = _run_steps(step)
        if flops is not None:
            method = f"{flops.method}; operations, bytes and peak on real cpu (fp32) tensors; not on fake: "
            flops = replace(flops, method=method + error_text(error))
    return replace(
        counters,
        flops=flops,
        dispatches=counted.dispatches,
        bytes_touched=counted.bytes_touched,
        saved_bytes=saved,
        predicted_peak=timeline.peak(round_to=block_bytes(cell)),
    )
