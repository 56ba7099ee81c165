"""Measure the energy of a step over a window long enough for the counter, in a pass of its own."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable

from bench.core.record import EnergyWindow
from bench.device.backend import synchronize
from bench.device.readings import Meter
from bench.device.step import Step
from bench.stats.stopping import STARTING_STEPS

WINDOW_SECONDS = 3.0
"""NVML's counter moves every 100 ms; between two of its edges there is no error of that."""

WARMUP_SECONDS = 0.5

IDLE_SECONDS = 1.2
"""NVML's older call averages power over a second; and what ran before has to wind down."""

LOOK_SECONDS, MOST_LOOK_SECONDS = 0.01, 0.05
"""The meter is read so often; up to the latter, where reading takes so long that the host would do little else."""

LOOKING_SHARE = 0.05
"""Of the host's time that may go into reading: a driver may take milliseconds, in which nothing is launched."""

MOST_QUEUED_SECONDS = 0.1
"""The host waits for the device so often: else the queue of an accelerator would grow far beyond the window."""

_IDLE_LOOKS = 5


def measure_idle(meter: Meter, sleep: Callable[[float], None] = time.sleep) -> float | None:
    """Read the power of a device with nothing of ours on it, over a second; None where the meter does not move."""
    before = meter.read()
    sleep(IDLE_SECONDS)
    joules = meter.between(before, meter.read())
    looks = []
    for _ in range(_IDLE_LOOKS):
        looks.append(meter.watts())
        sleep(0.02)
    told = [watts for watts in looks if watts is not None]
    if told:
        return statistics.median(told)
    return joules / IDLE_SECONDS if joules > 0 else None


def measure_energy(
    step: Step,
    device: str,
    meter: Meter,
    window_seconds: float = WINDOW_SECONDS,
    now: Callable[[], float] = time.perf_counter,
    idle_watts: float | None = None,
) -> EnergyWindow:
    """Run whole steps for a window and read the meter beside them, while work is queued.

    Power is joules over time between the first and the last edge of its counter; a window too short for two edges adds
    up samples of power instead, where there are any. What the device uses at rest is part of it: that, too, is spent
    while the model runs. Keep the meter open around it.
    """
    for _ in range(STARTING_STEPS):  # they may compile, while the device idles
        _run(step, device, 0.0, now)
    _run(step, device, WARMUP_SECONDS, now)
    readings: list[tuple[float, tuple[float, ...]]] = []
    samples: list[float] = []

    def look() -> None:
        readings.append((now(), meter.read()))
        watts = meter.watts()
        if watts is not None:
            samples.append(watts)

    look()
    looked = now()
    look()
    started = now()
    every = min(MOST_LOOK_SECONDS, max(LOOK_SECONDS, (started - looked) / LOOKING_SHARE))
    steps = _run(step, device, window_seconds, now, look, every)
    seconds = now() - started
    if len(samples) > 2:
        del samples[:2]  # nothing was queued yet
    look()
    edges = [after for before, after in itertools.pairwise(readings) if after[1] != before[1]]
    method = meter.method
    if len(edges) > 1 and edges[-1][0] > edges[0][0]:
        watts = meter.between(edges[0][1], edges[-1][1]) / (edges[-1][0] - edges[0][0])
    elif samples:
        watts, method = statistics.fmean(samples), f"{meter.method}; its window was too short, so samples of power"
    else:
        watts = meter.between(readings[1][1], readings[-1][1]) / seconds
    return EnergyWindow(
        joules_per_step=watts * seconds / steps,
        average_watts=watts,
        idle_watts=idle_watts,
        window_seconds=seconds,
        steps=steps,
        method=method,
    )


def _run(
    step: Step,
    device: str,
    seconds: float,
    now: Callable[[], float],
    look: Callable[[], None] = lambda: None,
    every: float = LOOK_SECONDS,
) -> int:
    """Run steps for so long, at least one, and wait for the last of them; look now and then, with work queued."""
    started, steps = now(), 0
    waited = looked = started
    while steps == 0 or now() - started < seconds:
        step()
        steps += 1
        if now() - looked > every:
            look()
            looked = now()
        if now() - waited > MOST_QUEUED_SECONDS:
            synchronize(device)
            waited = now()
    synchronize(device)
    return steps
