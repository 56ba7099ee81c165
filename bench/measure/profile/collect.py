"""Plain steps and marked steps under the profiler, in alternation: a machine drifts, and both must drift alike.

warm up, with one short profile, because the first one loads the profiler
per round       a block of plain steps, then of steps split into phases, both timed as `bench run` times them
                a block of marked steps under the profiler, whose first is dropped: it finds the caches cold

A trace of a few steps for Perfetto or chrome://tracing, bounded in size.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity

from bench.core.advice import MOST_LAUNCHES_TOLD
from bench.core.cell import Cell, CompileMode
from bench.core.progress import tell
from bench.core.record import Phase
from bench.core.units import counted
from bench.counters.build import whole
from bench.device.backend import backend_of, is_accelerator, synchronize
from bench.device.step import Step
from bench.measure.blocks import time_phases, time_steps, warm_up, without_garbage_collection
from bench.measure.clock import clock_for
from bench.measure.profile.attribution import Attribution
from bench.measure.profile.spans import Recording, layer_marks, read_recording, run_marked
from bench.measure.profile.times import DeviceStep, StepTime, device_times, host_times
from bench.measure.window import Unwatched

ROUNDS = 4

BLOCK_SECONDS = 0.05

PROFILED_SECONDS = 2.0

MIN_STEPS, MAX_STEPS = 8, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Raw steps of both kinds.

    Attributes:
        warmup_seconds: Duration of each warm-up step.
        plain_seconds: Without the profiler; of the device's clock on an accelerator.
        plain_phases: Median of each phase on the host without the profiler, of steps that are split into phases.
        plain_host_seconds: What the host took for those on an accelerator, waits for room in its queue included.
        launch_seconds: The least that launching a step into an empty queue took; None if that cannot be told.
        steps: Profiled, on the host.
        device_steps: Profiled, on the device; empty on the CPU.
    """

    warmup_seconds: tuple[float, ...]
    plain_seconds: tuple[float, ...]
    plain_phases: dict[Phase | str, float]
    plain_host_seconds: tuple[float, ...]
    launch_seconds: float | None
    steps: tuple[StepTime, ...]
    device_steps: tuple[DeviceStep, ...]


def collect(step: Step, cell: Cell, *, steps: int | None = None, window: Unwatched | None = None) -> Collected:
    """Warm a prepared step up, then take plain and profiled steps in turn.

    Synchronises at the borders of blocks; keeps the garbage collector off meanwhile. None profiles as many steps as two
    seconds hold, between 8 and 40. A compiled model has no hooks, which would be compiled too. The window begins when
    the step is warm.
    """
    window = window or Unwatched(clock_for(cell.device))
    clock = window.clock
    plain: list[float] = []
    host: list[float] = []
    launches: list[float] = []
    phases: defaultdict[Phase | str, list[float]] = defaultdict(list)
    profiled: list[StepTime] = []
    device: list[DeviceStep] = []
    with without_garbage_collection():
        warmup = warm_up(step, clock, cell.device)
        record_steps(step, cell, 1)
        seconds = max(min(warmup), 1e-6)
        wanted = steps or max(MIN_STEPS, min(MAX_STEPS, round(PROFILED_SECONDS / seconds)))
        rounds = min(ROUNDS, wanted)
        block = max(1, round(BLOCK_SECONDS / seconds))
        with window:
            for index in range(rounds):
                tell("profiling steps", index, rounds)
                count = wanted // rounds + (index < wanted % rounds)
                lead_in = block > 1 or clock.name == "device"
                new, new_host = time_steps(step, clock, max(block, count), lead_in=lead_in)
                plain += new
                host += new_host
                if clock.launch_seconds is not None:
                    launches.append(clock.launch_seconds)
                taken, on_host = time_phases(step, clock, max(block, count))
                for phase, values in (on_host if clock.name == "device" else taken).items():
                    phases[phase] += values
                recording = record_steps(step, cell, count + 1)
                attribution = Attribution(recording)
                profiled += host_times(attribution)[1:]
                if is_accelerator(cell.device):
                    device += device_times(recording, attribution)
        with backend_of(cell.device).waits() as waits:
            if launches:
                step()
    # A step that waits for the device, as with a GradScaler, or for room in its queue, launches no faster than that.
    kernels = max((sum(one.operator_calls.values()) for one in device), default=0)
    is_waiting = step.scaler is not None or bool(waits) or kernels > MOST_LAUNCHES_TOLD
    return Collected(
        warmup_seconds=tuple(warmup),
        plain_seconds=tuple(plain),
        plain_phases={phase: statistics.median(values) for phase, values in phases.items()},
        plain_host_seconds=tuple(host),
        launch_seconds=None if is_waiting else min(launches, default=None),
        steps=tuple(profiled),
        device_steps=tuple(device),
    )


def record_steps(step: Step, cell: Cell, count: int) -> Recording:
    """Run marked steps under torch's profiler and read what it recorded."""
    return read_recording(raw_events(recorded_steps(step, cell, count)))


def raw_events(profiler: torch.profiler.profile) -> list[Any]:
    """Return what an ended profiler recorded, in nanoseconds; `profiler.events()` would build a tree first."""
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    return profiler.profiler.kineto_results.events()


def recorded_calls(call: Callable[[], object], device: str, count: int) -> torch.profiler.profile:
    """Make calls under torch's profiler, and return the profiler, which has ended."""
    activities = (ProfilerActivity.CPU, *backend_of(device).profiler_activities())
    synchronize(device)
    profiler = torch.profiler.profile(activities=activities)
    with profiler:
        for _ in range(count):
            call()
        synchronize(device)
    return profiler


def recorded_steps(step: Step, cell: Cell, count: int) -> torch.profiler.profile:
    """Run marked steps under torch's profiler, and return the profiler, which has ended."""
    marks = layer_marks(whole(step.networks)) if cell.compile is CompileMode.NONE else contextlib.nullcontext()
    with marks:
        return recorded_calls(functools.partial(run_marked, step), cell.device, count)


TRACED_STEPS = 3

MAX_EVENTS = 200_000
"""About 50 MB of JSON: what Perfetto still opens at once."""


def write_trace(step: Step, cell: Cell, path: Path, *, max_events: int = MAX_EVENTS, steps: int | None = None) -> str:
    """Trace a few steps into a file, as `write_recording` does; so many where ranks have to agree on them."""
    return write_recording(
        functools.partial(recorded_steps, step, cell), cell.id, path, max_events=max_events, count=steps
    )


def write_recording(
    record: Callable[[int], torch.profiler.profile],
    name: str,
    path: Path,
    *,
    unit: str = "step",
    max_events: int = MAX_EVENTS,
    count: int | None = None,
) -> str:
    """Write what the profiler recorded into a file, packed if its name ends in `.gz`; return in words what it holds.

    `record` records so many steps, or what `unit` calls them: None is up to three, as the events of one allow. A
    recording of more than `max_events` events is cut off: its first events are kept.
    """
    if count is None:
        events = max(1, len(raw_events(record(1))))
        count = max(1, min(TRACED_STEPS, max_events // events))
    raw = path.with_name(f".{path.name}.raw.json")
    try:
        record(count).export_chrome_trace(str(raw))
        document = json.loads(raw.read_text(encoding="utf-8"))
    finally:
        raw.unlink(missing_ok=True)
    kept, dropped = cut(document["traceEvents"], max_events)
    document["traceEvents"] = kept
    words = counted(count, unit)
    if dropped:
        words += f", of which the last {dropped:,} of {dropped + len(kept):,} events were cut off"
    document["stepbench"] = {"cell": name, "contents": words}
    data = json.dumps(document).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return words


def cut(events: list[dict[str, Any]], limit: int) -> tuple[list[dict[str, Any]], int]:
    """Keep the first events in time, and all that only name processes and threads; tell how many were dropped."""
    names = [event for event in events if event.get("ph") == "M"]
    timed = sorted((event for event in events if event.get("ph") != "M"), key=lambda event: event.get("ts", 0))
    kept = timed[: max(0, limit - len(names))]
    return names + kept, len(timed) - len(kept)
