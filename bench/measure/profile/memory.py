"""Memory over one steady step: predicted by cause on fake tensors, and measured phase by phase on an accelerator."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.cell import Cell, CompileMode
from bench.core.errors import ModelError
from bench.core.profile import MemoryPoint, MemoryProfile, PhasePeak
from bench.core.record import Phase, PredictedPeak
from bench.core.workload import Workload
from bench.counters.fakes import fake_step
from bench.counters.predict import block_bytes
from bench.counters.timeline import track_steps
from bench.device.backend import backend_of, is_accelerator
from bench.device.marks import Marks
from bench.device.step import Step

MAX_POINTS = 200


def profile_memory(workload: Workload, cell: Cell, step: Step) -> MemoryProfile:
    """Follow the tensors alive over the second step, whose optimizer has its state.

    Args:
        workload: Built on fake tensors.
        cell: Its device tells how the allocator rounds.
        step: Prepared. On an accelerator the allocator's own peaks are read beside; and where the step reads the value
            of a tensor, it is followed itself. Run when nothing is timed.
    """
    method = "tensors alive, on fake CPU tensors"
    try:
        with fake_step(workload, cell) as fake:
            history = track_steps(fake, 2).history(round_to=block_bytes(cell))
    except ModelError:
        if cell.compile is not CompileMode.NONE:
            raise
        method = "tensors alive, in a real step"
        history = track_steps(step, 2).history(round_to=block_bytes(cell))
    measured = measure_phases(step, cell.device) if is_accelerator(cell.device) else ()
    return MemoryProfile(points=thin(history), measured=measured, method=method)


def thin(history: Sequence[tuple[Phase | str, PredictedPeak]]) -> tuple[MemoryPoint, ...]:
    """Keep so many points, evenly spread: of each stretch its highest."""
    width = -(-len(history) // MAX_POINTS) or 1
    stretches = (history[start : start + width] for start in range(0, len(history), width))
    return tuple(_point(*max(stretch, key=lambda item: item[1].total_bytes)) for stretch in stretches)


def _point(phase: Phase | str, peak: PredictedPeak) -> MemoryPoint:
    return MemoryPoint(
        phase=phase,
        weights_bytes=peak.weights_bytes,
        gradients_bytes=peak.gradients_bytes,
        optimizer_state_bytes=peak.optimizer_state_bytes,
        inputs_bytes=peak.inputs_bytes,
        saved_activations_bytes=peak.saved_activations_bytes,
        temporary_bytes=peak.temporary_bytes,
    )


def measure_phases(step: Step, device: str) -> tuple[PhasePeak, ...]:
    """Run one step on an accelerator and read its allocator's peak in each phase; synchronises at phase borders."""
    backend = backend_of(device)
    if backend.allocator().peak_allocated is None:
        return ()
    found: list[PhasePeak] = []

    def end(phase: Phase | str) -> None:
        backend.synchronize()
        read = backend.allocator()
        assert read.peak_allocated is not None and read.allocated is not None
        found.append(
            PhasePeak(phase=phase, peak_allocated_bytes=read.peak_allocated, end_allocated_bytes=read.allocated)
        )
        backend.reset_peak()

    backend.synchronize()
    backend.reset_peak()
    step.split(Marks(end=end))
    return tuple(found)
