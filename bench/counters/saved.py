"""Count the bytes that autograd saves in forward for backward: what activation checkpointing trades for time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from bench.core.cell import Cell
from bench.core.workload import Workload
from bench.counters.fakes import fake_step
from bench.counters.timeline import storages_of, tensors_in
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
    inputs = _addresses(step.batch) - parameters
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
