"""Measure the energy of a step over a window long enough for the counter, in a pass of its own."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.core.record import EnergyWindow
from bench.device.backend import Meter, synchronize
from bench.device.step import Step
from bench.stats.stopping import STARTING_STEPS

WINDOW_SECONDS = 3.0
"""NVML's counter moves every 100 ms: over 3 s that is an error of 3 % at most."""

WARMUP_SECONDS = 0.5

MOST_QUEUED_SECONDS = 0.1
"""The host waits for the device so often: else the queue of an accelerator would grow far beyond the window."""


def measure_energy(
    step: Step,
    device: str,
    meter: Meter,
    window_seconds: float = WINDOW_SECONDS,
    now: Callable[[], float] = time.perf_counter,
) -> EnergyWindow:
    """Run whole steps for a window and read the meter at both ends; the device is idle at both.

    What the device uses at rest is part of it: that, too, is spent while the model runs.
    """
    for _ in range(STARTING_STEPS):  # they may compile, while the device idles
        _run(step, device, 0.0, now)
    _run(step, device, WARMUP_SECONDS, now)
    before = meter.read()
    started = now()
    steps = _run(step, device, window_seconds, now)
    seconds = now() - started
    joules = meter.between(before, meter.read())
    return EnergyWindow(
        joules_per_step=joules / steps,
        average_watts=joules / seconds,
        window_seconds=seconds,
        steps=steps,
        method=meter.method,
    )


def _run(step: Step, device: str, seconds: float, now: Callable[[], float]) -> int:
    """Run steps for so long, at least one, and wait for the last of them."""
    started, steps = now(), 0
    waited = started
    while steps == 0 or now() - started < seconds:
        step()
        steps += 1
        if now() - waited > MOST_QUEUED_SECONDS:
            synchronize(device)
            waited = now()
    synchronize(device)
    return steps
