"""Does the input pipeline keep up with the step? The loader alone, the step alone, and both together."""

from __future__ import annotations

import itertools
import time
from typing import Any

from torch.utils.data import DataLoader

from bench import registry
from bench.core.progress import expect
from bench.core.training import PipelinePoint, TrainingPlan
from bench.device.backend import is_accelerator
from bench.device.gradients import settle_scale
from bench.device.prepare import prepare
from bench.device.step import Step
from bench.measure.blocks import EXPECTED_STEPS, time_steps, warm_up
from bench.measure.clock import Clock, clock_for
from bench.measure.scenarios.calls import feed, input_shape
from bench.measure.scenarios.images import Digits, make_loader, open_digits
from bench.measure.scenarios.training import STARVED_FRACTION, starved
from bench.measure.window import Unwatched

LEAST_BATCHES = 5
MOST_BATCHES = 1000
WARMUP_STEPS = 3
"""On a CPU; an accelerator warms up until it settles."""

_TORCHS_PREFETCH = 2  # batches per worker where none is asked for


def measure_pipeline(
    plan: TrainingPlan, budget_seconds: float, data: Digits | None = None, window: Unwatched | None = None
) -> PipelinePoint:
    """Measure one combination; each of the three takes about `budget_seconds`, and five batches at least.

    Batches that workers had prepared before the first was taken would flatter the loader, so they are taken and not
    counted. `window` is that of the three measurements, without the warm-up; while the loader is alone a device idles,
    so that this is the host's time only.

    Raises:
        BenchError: The model or the data cannot be used.
    """
    workload = registry.resolve(plan.model, input_shape=plan.input_shape)
    with prepare(workload, plan.cell) as step:
        if data is None:
            data = open_digits(plan, input_shape(step, plan.model))
        window = window or Unwatched(clock_for(plan.device))
        clock = window.clock
        _warm_up(step, plan, clock)
        with window:
            step_seconds = _time_step(step, plan, clock, budget_seconds)
        with window.of_host():
            start_seconds, data_seconds = _time_loader(plan, data, budget_seconds)
        with window:
            wait_seconds, rest_seconds = _time_both(step, plan, data, clock, budget_seconds)
    waited, worked = sum(wait_seconds), sum(rest_seconds)
    is_starved = waited > STARVED_FRACTION * (waited + worked)
    count = len(wait_seconds)
    return PipelinePoint(
        plan=plan,
        start_seconds=start_seconds,
        data_seconds=tuple(data_seconds),
        step_seconds=tuple(step_seconds),
        joint_seconds=tuple(a + b for a, b in zip(wait_seconds, rest_seconds, strict=True)),
        wait_seconds=tuple(wait_seconds),
        advice=(starved(waited / count, worked / count, plan.workers),) if is_starved else (),
    )


def _warm_up(step: Step, plan: TrainingPlan, clock: Clock) -> None:
    if is_accelerator(plan.device):
        warm_up(step, clock, plan.device)
        return
    settle_scale(step)
    warmup_seconds, _ = time_steps(step, clock, WARMUP_STEPS)
    expect(EXPECTED_STEPS * max(warmup_seconds))  # a process is not ended because its steps are long


def _time_step(step: Step, plan: TrainingPlan, clock: Clock, budget_seconds: float) -> list[float]:
    seconds: list[float] = []
    while len(seconds) < LEAST_BATCHES or (sum(seconds) < budget_seconds and len(seconds) < MOST_BATCHES):
        seconds += time_steps(step, clock, LEAST_BATCHES, lead_in=is_accelerator(plan.device))[0]
    return seconds


def _time_loader(plan: TrainingPlan, data: Digits, budget_seconds: float) -> tuple[float, list[float]]:
    """Return the seconds until the first batch, and those of the later ones."""
    loader = _loader(plan, data)
    began = time.perf_counter()
    batches = iter(loader)
    next(batches)
    start_seconds = time.perf_counter() - began
    for _ in range(_ahead(plan)):
        next(batches)
    seconds = []
    before = first = time.perf_counter()
    for _ in itertools.islice(batches, MOST_BATCHES):
        now = time.perf_counter()
        seconds.append(now - before)
        before = now
        if len(seconds) >= LEAST_BATCHES and now - first > budget_seconds:
            break
    return start_seconds, seconds


def _time_both(
    step: Step, plan: TrainingPlan, data: Digits, clock: Clock, budget_seconds: float
) -> tuple[list[float], list[float]]:
    """Return what each step waited for its batch, and what copying and the step took."""
    batches = iter(_loader(plan, data))

    def take_one() -> None:
        images, labels = next(batches)
        feed(step, images, labels, plan)
        step()

    for _ in range(_ahead(plan)):
        take_one()
    began = time.perf_counter()
    clock.start(take_one)  # an accelerator still works at it when it meets the first mark, as in a training
    for count, (images, labels) in enumerate(itertools.islice(batches, MOST_BATCHES), 1):
        clock.mark()
        feed(step, images, labels, plan)
        step()
        clock.mark()
        if count >= LEAST_BATCHES and time.perf_counter() - began > budget_seconds:
            break
    seconds, _ = clock.collect()
    return seconds[0::2], seconds[1::2]


def _ahead(plan: TrainingPlan) -> int:
    """Count the batches that workers prepare before anybody asks for them."""
    return plan.workers * (plan.prefetch or _TORCHS_PREFETCH)


def _loader(plan: TrainingPlan, data: Digits) -> DataLoader[Any]:
    """Make a loader of more whole batches than are needed: example after example, epoch after epoch.

    Its workers end when its iterator is dropped.
    """
    needed = (1 + _ahead(plan) + MOST_BATCHES) * plan.batch_size
    size = data.facts.train_examples
    keys = [(1 + index // size, index % size) for index in range(needed)]
    return make_loader(data.train, keys, plan.batch_size, plan)
