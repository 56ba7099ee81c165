"""The memory of a step and its causes: predicted before anything is allocated, or measured while steps really run.

Run what measures in a process of its own. `measure_memory` changes the settings of the C allocator for good (below), so
the same process must not be timed afterwards: glibc settings that give memory back made a step 23 % slower.
"""

from __future__ import annotations

import gc
from dataclasses import replace

from bench.core.cell import Cell, CompileMode, Mode, Parallel
from bench.core.progress import expect
from bench.core.record import Counters, Memory, PredictedPeak
from bench.core.workload import Workload
from bench.counters.fakes import fake_step
from bench.counters.timeline import track_steps
from bench.device.backend import backend_of
from bench.device.cpu import call_c, clear_peak, peak_resident_bytes, resident_bytes
from bench.device.gradients import settle_scale
from bench.device.prepare import prepare
from bench.device.ranks import Ranks
from bench.device.step import Step

STEPS = 2
"""What is predicted and measured: the second step has the optimizer's state."""

COMPILING_STEPS = 3
"""The first step compiles and tries kernels, the second records a graph (reduce-overhead), the third replays it."""

_MMAP_THRESHOLD_BYTES = 65536
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h


def measure_memory(
    workload: Workload,
    cell: Cell,
    *,
    gpu_uuid: str | None = None,
    ranks: Ranks | None = None,
) -> Memory:
    """Measure the peaks of the first steps on the cell's device; this process may be one of `ranks`.

    The driver is asked by `gpu_uuid` what this process holds, contexts included.
    """
    if backend_of(cell.device).memory_method is not None:
        return _measure_allocator(workload, cell, gpu_uuid, ranks)
    return measure_resident(workload, cell, ranks)


def measure_resident(workload: Workload, cell: Cell, ranks: Ranks | None = None) -> Memory:
    """Measure the peak of the process's resident set during steps on the CPU. Call it in a fresh process.

    Large blocks come straight from the system and go straight back (`mallopt`), or the resident set would count memory
    that was freed: 32-35 % too much. A step of the same model with one or two examples runs before, so that code and
    libraries which torch loads at first use are not taken for the model's memory; its tensors are freed again.
    """
    is_trimmed = _give_memory_back()
    allocator = f"mmap threshold {_MMAP_THRESHOLD_BYTES}" if is_trimmed else "allocator as it was"
    _rehearse(workload, cell, ranks)
    before = resident_bytes()
    with prepare(workload, cell, ranks=ranks) as step:
        can_clear = clear_peak()
        _run(step)
        peak = peak_resident_bytes()
    return Memory(
        peak_resident_bytes=peak,
        step_resident_bytes=peak - before if can_clear and before is not None else None,
        method=f"VmHWM after clear_refs, {allocator}"
        if can_clear
        else f"peak resident set since the start, {allocator}",
    )


def track_live_bytes(workload: Workload, cell: Cell) -> PredictedPeak:
    """Track the tensor bytes that are really alive during real steps, by cause: what `predict` must equal.

    A compiled cell runs eagerly, because the tracking sees eager operations.
    """
    with prepare(workload, replace(cell, compile=CompileMode.NONE)) as step:
        settle_scale(step)
        return track_steps(step).peak(round_to=block_bytes(cell))


def _measure_allocator(workload: Workload, cell: Cell, gpu_uuid: str | None, ranks: Ranks | None) -> Memory:
    """Read the caching allocator's own peaks. Starts with an empty cache, so that reserved bytes are this cell's."""
    backend = backend_of(cell.device)
    assert backend.memory_method is not None
    gc.collect()
    backend.release()
    with prepare(workload, cell, ranks=ranks) as step:
        compiling = None
        if cell.compile is not CompileMode.NONE:  # the compiler's own buffers do not belong to the model
            backend.reset_peak()
            _run(step, COMPILING_STEPS)
            compiling = backend.allocator().peak_allocated
        backend.synchronize()
        backend.reset_peak()
        _run(step)
        backend.synchronize()
        read, used, whole = backend.allocator(), backend.used_bytes(gpu_uuid), backend.whole_bytes()
        method = backend.memory_method.format(steps=STEPS)
        more = {str: f", no driver's count: {used}", int: ", the driver's count after them"}.get(type(used), "")
        return Memory(
            peak_allocated_bytes=read.peak_allocated,
            peak_requested_bytes=read.peak_requested,
            peak_reserved_bytes=read.peak_reserved,
            compiling_allocated_bytes=compiling,
            device_used_bytes=used if isinstance(used, int) else None,
            whole_device_bytes=whole,
            method=method + more,
        )


def _run(step: Step, steps: int = STEPS) -> None:
    settle_scale(step)
    for _ in range(steps):
        step()
        expect()


def _rehearse(workload: Workload, cell: Cell, ranks: Ranks | None) -> None:
    """Run one small step and free it; batch normalisation needs two examples in train mode."""
    batch_size = min(cell.batch_size, 2 if cell.mode is Mode.TRAIN else 1)
    with prepare(workload, replace(cell, batch_size=batch_size), ranks=ranks) as step:
        step()
    del step
    gc.collect()
    call_c("malloc_trim", 0)


def _give_memory_back() -> bool:
    """Tell glibc to return freed blocks at once; False where there is no glibc."""
    return all(
        call_c("mallopt", option, _MMAP_THRESHOLD_BYTES) == 1 for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD)
    )


def predict(workload: Workload, cell: Cell) -> PredictedPeak:
    """Predict the highest instant of training (or inference): the first step or a steady one, whichever is higher.

    Counts the bytes of all tensors alive at once, on fake CPU tensors for any device (see `fakes` for what differs).
    Not counted: what a kernel allocates inside one operation, CUDA's context, the allocator's fragmentation. Compiled
    cells are predicted as eager ones.
    """
    return max(predict_steps(workload, cell), key=lambda peak: peak.total_bytes)


def predict_steps(workload: Workload, cell: Cell) -> tuple[PredictedPeak, ...]:
    """Predict the peak of each of the first steps; the optimizer's state is created in the first."""
    with fake_step(workload, cell) as step:
        return track_steps(step).peaks(round_to=block_bytes(cell))


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
