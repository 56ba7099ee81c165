"""Everything that can be counted of a cell before it runs: no clock, no allocation, the same answer every time.

Count the bytes that autograd saves in forward for backward: what activation checkpointing trades for time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from bench.core.cell import Cell
from bench.core.record import Advice, AdviceKind, Counters
from bench.core.workload import Workload
from bench.counters.dispatches import OperationCounter
from bench.counters.fakes import fake_step
from bench.counters.flops import count_workload
from bench.counters.predict import block_bytes
from bench.counters.timeline import storages_of, tensors_in, track_steps
from bench.device import batch
from bench.device.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedBytes:
    """Bytes of the storages saved for backward, each counted once, by what they are.

    Attributes:
        activations_bytes: Neither of the following: they live only because backward needs them.
        parameters_bytes: Parameters and buffers; they live anyway.
        inputs_bytes: The batch; it lives anyway.
    """

    activations_bytes: int
    parameters_bytes: int
    inputs_bytes: int


def count_saved_bytes(workload: Workload, cell: Cell) -> SavedBytes:
    """Count what forward and loss save, on fake CPU tensors; nothing is saved in infer mode."""
    with fake_step(workload, cell) as step:
        return count_saved(step)


def count_saved(step: Step) -> SavedBytes:
    """Run forward and loss of a step, real or fake, and count what they save.

    Counts the whole storage of a saved view. Tensors that a custom function hides in its context by other means than
    `save_for_backward` are not seen; what a checkpointed part would save is not counted, because it is not kept.
    """
    with collect_saved() as saved:
        outputs = step.forward()
        if step.is_training:
            step.compute_loss(outputs)
    parameters = _addresses([*step.model.parameters(), *step.model.buffers()])
    inputs = _addresses(batch.tensors_in(step.batch)) - parameters
    return SavedBytes(
        activations_bytes=sum(size for address, size in saved.items() if address not in parameters | inputs),
        parameters_bytes=sum(size for address, size in saved.items() if address in parameters),
        inputs_bytes=sum(size for address, size in saved.items() if address in inputs),
    )


@contextlib.contextmanager
def collect_saved() -> Iterator[dict[int, int]]:
    """Collect address and bytes of every storage that autograd saves; it keeps them alive until the block ends."""
    saved: dict[int, int] = {}
    alive: list[torch.UntypedStorage] = []  # so that no address is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        for storage in storages_of(tensor):
            saved[storage._cdata] = storage.nbytes()
            alive.append(storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved


def _addresses(value: object) -> set[int]:
    return {storage._cdata for tensor in tensors_in(value) for storage in storages_of(tensor)}


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
