"""Predict the peak memory of a step, and its causes, before anything is allocated."""

from __future__ import annotations

from dataclasses import replace

from bench.core.cell import Cell, Mode, Parallel
from bench.core.record import Counters, PredictedPeak
from bench.core.workload import Workload
from bench.counters.fakes import fake_step
from bench.counters.timeline import track_steps
from bench.device.backend import backend_of


def predict(workload: Workload, cell: Cell, *, round_to: int | None = None) -> PredictedPeak:
    """Predict the highest instant of training (or inference): the first step or a steady one, whichever is higher.

    Counts the bytes of all tensors alive at once, on fake CPU tensors for any device (see `fakes` for what differs).
    Not counted: what a kernel allocates inside one operation, CUDA's context, the allocator's fragmentation.

    Args:
        workload: What to build.
        cell: Compiled cells are predicted as eager ones.
        round_to: Size of the allocator's blocks; None takes those of the cell's device.
    """
    return max(predict_steps(workload, cell, round_to=round_to), key=lambda peak: peak.total_bytes)


def predict_steps(
    workload: Workload, cell: Cell, *, steps: int = 2, round_to: int | None = None
) -> tuple[PredictedPeak, ...]:
    """Predict the peak of each of the first steps; the optimizer's state is created in the first."""
    with fake_step(workload, cell) as step:
        return track_steps(step, steps).peaks(round_to=block_bytes(cell) if round_to is None else round_to)


def block_bytes(cell: Cell) -> int:
    """Return the multiple to which the allocator of the cell's device rounds tensors."""
    return backend_of(cell.device).block_bytes


def of_a_rank(counters: Counters, cell: Cell) -> PredictedPeak | None:
    """Predict the peak of one rank of several from that of a process alone.

    DDP holds every gradient once more, in the buckets that it sends. Of FSDP2 nothing is predicted: what is gathered at
    the peak depends on the blocks.
    """
    peak = counters.predicted_peak
    if peak is None or cell.world_size == 1 or (cell.mode is Mode.INFER and cell.parallel is Parallel.DDP):
        return peak
    if cell.parallel is Parallel.FSDP2:
        return None
    buckets = (counters.trainable_parameters or 0) * cell.precision.row.weight_bytes
    return replace(peak, total_bytes=peak.total_bytes + buckets, gradients_bytes=peak.gradients_bytes + buckets)
