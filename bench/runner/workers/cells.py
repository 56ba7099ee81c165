"""What happens inside a fresh process. The server that forks these imports this module, so importing it runs nothing.

A cell takes three processes: one counts it (`count_cell`), one only times (`time_cell`), one measures its memory
(`measure_peak`), so that no counter, profiler or allocator setting ever stands in a timed process.

Profile a cell inside a fresh process: the profiler never runs where anything else is timed.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from bench import registry
from bench.claims.check import BATCH_SIZE, Subject
from bench.core.advice import Advice, AdviceKind, doubts_of_machine
from bench.core.cell import Cell, CompileMode, Mode, Parallel, Precision
from bench.core.environment import MachineState
from bench.core.errors import BenchError, UsageError
from bench.core.fit import Fit, Verification
from bench.core.inputs import InputShape
from bench.core.peaks import Probe
from bench.core.precision import Arithmetic
from bench.core.profile import Profile, ProfileOptions
from bench.core.record import Counters, EnergyWindow, Memory, Phase, Sample, Sampling
from bench.core.units import format_bytes
from bench.counters.dispatches import count_kernel_launches
from bench.counters.fit import fit
from bench.counters.flops import advice_on_gradients, count_workload
from bench.counters.memory import COMPILING_STEPS, measure_memory, of_a_rank, track_live_bytes
from bench.counters.static import count
from bench.device.backend import (
    ALL,
    all_devices,
    backend_of,
    is_accelerator,
    is_out_of_memory,
    normalise_device,
    synchronize,
    why_not,
)
from bench.device.environment import read_environment
from bench.device.gradients import settle_scale
from bench.device.prepare import prepare
from bench.device.settings import cell_settings, changed_settings, read_settings
from bench.measure.energy import measure_energy, measure_idle
from bench.measure.peaks import measure_slowdown, probe_memory, probe_products
from bench.measure.profile import profile
from bench.measure.profile.collect import write_trace
from bench.measure.timing import time_step
from bench.measure.window import Window
from bench.runner.workers.answers import Counted, CountedSubjects, Observed, Preflight, TimedCell
from bench.store.kept import imported_code


def preflight(devices: tuple[str, ...], models: tuple[tuple[str, InputShape | None], ...]) -> Preflight:
    """Check devices and model names before anything runs; reads the environment of each device.

    Raises:
        BenchError: The first device or model that is not there.
    """
    notes: list[str] = []
    names = tuple((device, _names_of(device, notes.append)) for device in devices)
    unique = dict.fromkeys(name for _, found in names for name in found.split(","))
    environments = tuple((name, read_environment(name)) for name in unique)
    for spec, input_shape in models:  # only now: importing a model's file may change torch's settings
        registry.resolve(spec, input_shape=input_shape)
    return Preflight(devices=names, environments=environments, notes=tuple(notes))


def _names_of(device: str, say: Callable[[str], object]) -> str:
    """Complete the name of a device; `all` is every accelerator, separated by commas."""
    if device != ALL:
        return normalise_device(device, say)
    found = [name for name in all_devices() if is_accelerator(name)]
    if not found:
        raise UsageError("--devices all was asked for, and this machine has no accelerator; leave it out")
    return ",".join(normalise_device(name) for name in found)


def time_cell(
    cell: Cell, sampling: Sampling, process: int, gpu_uuid: str | None, predicted_bytes: int | None = None
) -> TimedCell:
    """Measure the step and its phases, and the state of the machine around it.

    With `predicted_bytes` nothing is tried if less memory than that is free right now.
    """
    near = backend_of(cell.device).cpus_near(gpu_uuid) if sampling.exclusive else None
    if near and (mine := near & os.sched_getaffinity(0)):
        os.sched_setaffinity(0, mine)
    problem = problem_of(cell, predicted_bytes)
    if problem is not None:
        return problem
    settings = read_settings()
    window = Window(cell.device, gpu_uuid)
    started = time.perf_counter()
    workload = registry.resolve(cell.model, input_shape=cell.input_shape)
    with prepare(workload, cell) as step, backend_of(cell.device).opened():
        built = seconds_of_build(started, cell.device)
        timing = time_step(step, cell.device, sampling, process=process, window=window)
        state = window.state()
        changed = advice_on_settings(cell, settings)
        mode = step.fallback_mode
        fallback: tuple[Advice, ...] = () if mode is None else (advice_on_gradients(mode),)
    return TimedCell(
        samples=with_build(timing.samples, built),
        advice=timing.advice + doubts_of_machine(state, cell.device) + fallback + changed,
        final_loss=timing.final_loss,
        tokens_per_example=workload.tokens_per_example,
        state=state,
    )


def seconds_of_build(started: float, device: str) -> float:
    """Return the seconds since then, when the device has done what it was asked to."""
    synchronize(device)
    return time.perf_counter() - started


def with_build(samples: tuple[Sample, ...], seconds: float) -> tuple[Sample, ...]:
    """Write the seconds of the build into the samples of whole steps."""
    return tuple(replace(s, build_seconds=seconds) if s.phase is Phase.STEP else s for s in samples)


def try_cell(cell: Cell) -> str | None:
    """Run one step without a clock, in this process alone; return why the device cannot, or None."""
    reason = why_not(cell.device, cell.precision)
    if reason is None:
        workload = registry.resolve(cell.model, input_shape=cell.input_shape)
        with prepare(workload, replace(cell, world_size=1, nodes=1, parallel=Parallel.DDP)) as step:
            step()
    return reason


def measure_peak(cell: Cell, gpu_uuid: str | None) -> Memory:
    """Read the peak memory of live steps; changes the process's allocator settings, so nothing is timed here."""
    workload = registry.resolve(cell.model, input_shape=cell.input_shape)
    return measure_memory(workload, cell, gpu_uuid=gpu_uuid)


def observe(cell: Cell, gpu_uuid: str | None) -> Observed:
    """Measure the peak and then count the kernels in one process: starting a GPU's libraries takes seconds."""
    memory = measure_peak(cell, gpu_uuid)
    try:
        return Observed(memory=memory, launches=count_launches(cell))
    except (BenchError, RuntimeError) as error:
        return Observed(memory=memory, reason=f"{error}".strip().partition("\n")[0])


def snapshot_cell(cell: Cell, path: str) -> bool:
    """Write the history of the allocator over two steps, or until memory runs out; False where it keeps none."""
    history = backend_of(cell.device).history(path)
    if history is None:
        return False
    Path(path).parent.mkdir(exist_ok=True)
    with history:
        try:
            measure_memory(registry.resolve(cell.model, input_shape=cell.input_shape), cell)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
    return True


def trace_cell(cell: Cell, path: str) -> str:
    """Write a trace of a few steady steps; return in words what it holds."""
    workload = registry.resolve(cell.model, input_shape=cell.input_shape)
    with prepare(workload, cell) as step:
        for _ in range(COMPILING_STEPS if cell.compile is not CompileMode.NONE else 1):
            step()
        settle_scale(step)
        return write_trace(step, cell, Path(path))


def meter_energy(cell: Cell, gpu_uuid: str | None) -> EnergyWindow:
    """Measure the energy of a step over a window of seconds.

    Raises:
        UsageError: There is no meter.
    """
    meter = backend_of(cell.device).find_meter(gpu_uuid)
    if isinstance(meter, str):
        raise UsageError(meter)
    workload = registry.resolve(cell.model, input_shape=cell.input_shape)
    with meter.opened():
        idle = measure_idle(meter)
        with prepare(workload, cell) as step:
            settle_scale(step)
            return measure_energy(step, cell.device, meter, idle_watts=idle)


def probe_device(
    device: str, seconds: float, gpu_uuid: str | None = None
) -> tuple[tuple[Probe, ...], tuple[tuple[Arithmetic, str], ...], MachineState]:
    """Measure what a device can do: matrix products in each arithmetic, copy and triad, so long each."""
    window = Window(device, gpu_uuid)
    products, skipped = probe_products(device, seconds, window=window)
    probes = (*products, *probe_memory(device, seconds, window=window))
    return probes, skipped, window.state()


def probe_slowdown(device: str, precision: Precision) -> float | None:
    """Measure how many times as long as in fp32 a small step takes; None where the device cannot compute in it."""
    return measure_slowdown(device, precision) if why_not(device, precision) is None else None


def count_launches(cell: Cell) -> int | None:
    """Count the kernels that a steady step launches on an accelerator, under the profiler; nothing is timed here."""
    workload = registry.resolve(cell.model, input_shape=cell.input_shape)
    with prepare(workload, cell) as step:
        for _ in range(COMPILING_STEPS if cell.compile is not CompileMode.NONE else 1):
            step()
        settle_scale(step)
        return count_kernel_launches(step, cell.device)


def count_cell(cell: Cell, opinions: bool = True, steps: bool = True) -> Counted:
    """Count one step of a cell on tensors without storage, on one thread, because several cells are counted at once.

    Of a cell of several processes: what one of them does, without their communication.
    """
    since = time.time()
    workload = registry.resolve(cell.model, input_shape=cell.input_shape)
    with cell_settings(replace(cell, device="cpu", threads=1)):
        counters, advice = count(workload, cell, opinions=opinions, steps=steps)
    counters = replace(counters, predicted_peak=of_a_rank(counters, cell))
    return Counted(counters=counters, advice=advice, imported=imported_code(since))


def free_memory(device: str) -> int | None:
    """Read the free memory of a device."""
    return backend_of(device).free_bytes()


def fit_cell(cell: Cell, memory_bytes: int, workspace_bytes: int) -> Fit:
    """Find the largest batch that fits, on tensors without storage."""
    workload = registry.resolve(cell.model, input_shape=cell.input_shape)
    with cell_settings(replace(cell, device="cpu", threads=1)):
        return fit(workload, cell, memory_bytes, workspace_bytes=workspace_bytes)


def verify_cell(cell: Cell) -> Verification:
    """Run a cell for real and read the tensor bytes alive at its peak."""
    workload = registry.resolve(cell.model, input_shape=cell.input_shape)
    live = track_live_bytes(workload, cell)
    return Verification(live=live, allocated_bytes=backend_of(cell.device).allocator().peak_allocated)


def count_subjects(subjects: tuple[Subject, ...]) -> CountedSubjects:
    """Count one inference of each subject on tensors without storage; a failure costs only its own subject."""
    counted: list[tuple[Subject, Counters]] = []
    reasons: list[tuple[Subject, str]] = []
    for subject in subjects:
        try:
            workload = registry.resolve(subject.model, input_shape=subject.input_shape)
            counters, _ = count_workload(workload, mode=Mode.INFER, batch_size=BATCH_SIZE, opinions=False)
        except (BenchError, RuntimeError, ValueError, TypeError) as error:
            reasons.append((subject, f"{error}".partition("\n")[0]))
            continue
        counted.append((subject, counters))
    return CountedSubjects(counters=tuple(counted), reasons=tuple(reasons))


def nothing() -> None:
    """Do nothing: what remains is the cost of a fresh process."""


def torchvision_problem() -> str | None:
    """Import torchvision and return why it cannot be used; None if it can."""
    try:
        registry.torchvision_names()
    except BenchError as error:
        return str(error)
    return None


def problem_of(cell: Cell, needed: int | None) -> TimedCell | None:
    """Return why the device cannot, or that the bytes needed (None: unknown) are not free; None if it can."""
    reason = why_not(cell.device, cell.precision)
    if reason is not None:
        return TimedCell(skipped=reason)
    free = None if needed is None else free_memory(cell.device)
    if needed is None or free is None or needed <= free:
        return None
    facts = (("predicted_bytes", needed), ("free_bytes", free))
    words = f"the predicted peak of {format_bytes(needed)} exceeds the {format_bytes(free)} of free memory"
    return TimedCell(
        skipped=f"{words}; --no-predict tries anyway", advice=(Advice(kind=AdviceKind.MEMORY_TOO_SMALL, facts=facts),)
    )


def advice_on_settings(cell: Cell, before: Mapping[str, str]) -> tuple[Advice, ...]:
    """Doubt a cell whose model changed torch's settings: it ran under others than the record's environment says."""
    changed = changed_settings(cell, before)
    if not changed:
        return ()
    facts = tuple((name, f"{asked} -> {held}") for name, (asked, held) in changed.items())
    return (Advice(kind=AdviceKind.SETTINGS_CHANGED, facts=facts),)


def profile_cell(
    cell: Cell, options: ProfileOptions, flops_per_byte: float | None = None, gpu_uuid: str | None = None
) -> Profile | str:
    """Profile one cell; a reason instead where the device cannot compute in its precision.

    `flops_per_byte` is the ridge of the device's roofline, where its peaks were measured.
    """
    reason = why_not(cell.device, cell.precision)
    if reason is not None:
        return reason
    workload = registry.resolve(cell.model, input_shape=cell.input_shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the profiler's own, of one kind per version
        window = Window(cell.device, gpu_uuid)
        found = profile.profile_cell(workload, cell, options, flops_per_byte=flops_per_byte, window=window)
        state = window.state()
    return replace(found, advice=(*found.advice, *doubts_of_machine(state, cell.device)))
