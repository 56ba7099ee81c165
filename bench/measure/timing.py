"""Time one prepared step: warm up, then alternate blocks of whole steps and of split steps until the time is known.

    warm up                         recorded, not counted
    until the rule says stop:
        a block of whole steps      no mark inside a step: the STEP
        a block of split steps      a mark at every phase border: FORWARD, LOSS, BACKWARD, OPTIMIZER
                                    (of long steps one for every fourth whole one: phases are shares of a step)

Whole and split steps are passes of their own, interleaved in blocks, because a machine drifts: two passes one after the
other differ by more than the marks cost (docs/LOG.md).
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field, replace

import numpy as np

from bench.core.advice import Advice, AdviceKind
from bench.core.record import Phase, Sample, Sampling
from bench.device.backend import backend_of, is_accelerator
from bench.device.gradients import read_scale
from bench.device.step import Step
from bench.measure.blocks import (
    ACCELERATOR_WARMUP_SECONDS,
    Alone,
    Team,
    time_phases,
    time_steps,
    warm_up_until_steady,
    without_garbage_collection,
)
from bench.measure.clock import Clock, ColdClock, clock_for
from bench.measure.window import Unwatched
from bench.stats.estimate import drift, estimate_median, shift_beyond_chance
from bench.stats.stopping import FEWEST_STEPS, WIDE, StopRule

BLOCK_SECONDS = 0.05
"""A block lasts about this long: long against its start, short against the machine's drift."""

LAUNCH_BOUND_FRACTION = 0.9
"""A step is launch-bound when launching it takes the host more than this share of the device's time.

Launched into an empty queue: a full one (of about 1,000 kernels) makes the host wait, and that is no launching.
"""

SPOILING_REASONS = frozenset({"thermal", "hardware"})
"""Why a block is thrown away: it says more about the cooling than about the model. A power cap is how a GPU works.

Until as many steps are thrown away as are kept: a GPU that is always too hot is measured as it is, with a doubt.
"""

THROTTLED = "throttled"

PHASE_GAP_LIMIT = 0.05
"""A sum of phases that misses the step by more than this, and by more than chance, earns an Advice."""

SHORT_BLOCK = 5
"""Steps are short where a block has so many: 10 ms. Their first one after a pause is dropped, and as many are split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What timing one step in one process gives."""

    samples: tuple[Sample, ...]
    advice: tuple[Advice, ...]
    final_loss: float | None


@dataclass(slots=True)
class _Series:
    """Growing raw values of one phase."""

    seconds: list[float] = field(default_factory=list)
    host_seconds: list[float] = field(default_factory=list)

    def extend(self, seconds: list[float], host_seconds: list[float]) -> None:
        self.seconds += seconds
        self.host_seconds += host_seconds


def time_step(
    step: Step,
    device: str,
    sampling: Sampling,
    *,
    process: int = 0,
    team: Team | None = None,
    window: Unwatched | None = None,
) -> Timing:
    """Measure the unsplit step and its phases.

    Synchronises the device at the borders of blocks only. Switches the garbage collector off while it measures. The
    step's own state (weights, optimizer) changes as it trains. The ranks of a team take as many steps, block by block.
    `window` has the clock, is entered when it is warm, and left after the last sample.
    """
    window = window or Unwatched(clock_for(device))
    clock = window.clock
    if sampling.cold_cache:
        clock = ColdClock(clock, device)
    team = team or Alone()
    if is_accelerator(device):
        sampling = replace(sampling, min_warmup_seconds=max(sampling.min_warmup_seconds, ACCELERATOR_WARMUP_SECONDS))
    with without_garbage_collection():
        warmup_seconds = warm_up_until_steady(step, clock, sampling, team)
        scale = read_scale(step)
        with window:
            series, rule, discarded, launch_seconds = _sample(step, clock, sampling, warmup_seconds[-1], team)
    samples = tuple(
        Sample(
            phase=phase,
            seconds=tuple(values.seconds),
            clock=clock.name,
            host_seconds=tuple(values.host_seconds),
            warmup_seconds=tuple(warmup_seconds) if phase is Phase.STEP else (),
            discarded=tuple((reason, count) for reason, count in discarded.items() if count),
            process=process,
            converged=rule.is_converged if phase is Phase.STEP else None,
        )
        for phase, values in series.items()
    )
    taken = sum(len(sample.seconds) for sample in samples[:2])  # whole steps, and split ones by their first phase
    skipped = _skipped_updates(scale, read_scale(step), taken)
    with backend_of(device).waits() as waits:  # outside every timed block; reading a loss synchronises, too
        loss = step()
    final_loss = None if loss is None else float(loss.detach())
    # A step that waits for the device (as with a GradScaler, for whether gradients overflowed) launches no faster.
    is_waiting = step.scaler is not None or bool(waits)
    advice = list(_advice(samples, sampling, None if is_waiting else launch_seconds))
    if skipped:
        advice.append(Advice(kind=AdviceKind.SKIPPED_UPDATES, facts=(("skipped_updates", skipped),)))
    if final_loss is not None and not math.isfinite(final_loss):
        advice.append(Advice(kind=AdviceKind.NONFINITE_LOSS, facts=(("loss", str(final_loss)),)))
        final_loss = None
    return Timing(samples=samples, advice=tuple(advice), final_loss=final_loss)


def _skipped_updates(before: float | None, after: float | None, steps: int) -> int:
    """Return in how many of these steps a GradScaler halved its scale instead of updating; at a scale of 0 in all."""
    if before is None or after is None:
        return 0
    return max(0, round(math.log2(before / after))) if after else steps


def _whole_per_split(sampling: Sampling, step_seconds: float) -> int:
    """Return how many whole steps are timed for each split one: where a step is long, five split steps are enough."""
    fitting = int(max(sampling.budget_seconds, sampling.floor_seconds) / step_seconds)
    return max(1, min(sampling.min_steps, fitting) // FEWEST_STEPS)


def _sample(
    step: Step, clock: Clock, sampling: Sampling, step_seconds: float, team: Team
) -> tuple[dict[Phase | str, _Series], StopRule, dict[str, int], float | None]:
    """Alternate blocks of whole and split steps until the rule is satisfied; long steps are split less often.

    On an accelerator every block has at least five steps and a lead-in, which is still queued when the first of them
    is: from an empty queue each would wait for its own launches.

    Returns:
        Also how many steps were discarded, by reason, and the least that a lead-in took the host to launch.
    """
    is_queued = clock.name == "device"
    block = max(SHORT_BLOCK if is_queued else 1, round(BLOCK_SECONDS / max(step_seconds, 1e-7)))
    is_long = block < SHORT_BLOCK
    stride = _whole_per_split(sampling, step_seconds) if is_long else 1
    # The rest of the budget times the phases.
    rule = StopRule(replace(sampling, budget_seconds=sampling.budget_seconds * stride / (stride + 1)))
    series: dict[Phase | str, _Series] = {Phase.STEP: _Series()}
    discarded = {"lead-in": 0, THROTTLED: 0}
    split = 0
    launches: list[float] = []

    def is_spoilt(count: int) -> bool:
        """Whether the block just timed is thrown away, and counted as such: by all ranks, where one was throttled."""
        if not is_queued or not any(team.agree([float(_is_throttled(clock))])):
            return False
        if discarded[THROTTLED] >= max(rule.steps, FEWEST_STEPS * block):
            return False
        discarded[THROTTLED] += count
        return True

    while not rule.is_finished:
        count = min(block, sampling.max_steps - rule.steps)
        team.wait()
        seconds, host_seconds = time_steps(step, clock, count, lead_in=not is_long)
        discarded["lead-in"] += not is_long
        if clock.launch_seconds is not None:
            launches.append(clock.launch_seconds)
        if is_spoilt(count):
            continue
        series[Phase.STEP].extend(seconds, host_seconds)
        rule.add(team.agree(seconds))
        count = math.ceil(rule.steps / stride) - split
        if count == 0:
            continue
        team.wait()
        phases, host_phases = time_phases(step, clock, count, lead_in=not is_long)
        if is_spoilt(count):
            continue
        split += count
        for phase, values in phases.items():
            if phase not in series:
                earlier = split - count
                series[phase] = _Series([0.0] * earlier, [0.0] * earlier if host_seconds else [])
            series[phase].extend(values, host_phases[phase])
        for phase, kept in series.items():  # of one's own: it came in other steps, so it took none of these
            if phase not in phases and phase is not Phase.STEP:
                kept.extend([0.0] * count, [0.0] * count if host_seconds else [])
    return series, rule, discarded, min(launches, default=None)


def _is_throttled(clock: Clock) -> bool:
    """Whether the device was seen to lower its clock by heat or a fault at the end of the block that was just timed."""
    return bool(clock.glances) and not SPOILING_REASONS.isdisjoint(clock.glances[-1].throttle_reasons or ())


def _advice(samples: tuple[Sample, ...], sampling: Sampling, launch_seconds: float | None) -> list[Advice]:
    """Describe what to doubt about these samples."""
    by_phase = {sample.phase: sample for sample in samples}
    step = by_phase[Phase.STEP]
    median = statistics.median(step.seconds)
    advice = []

    def doubt(kind: AdviceKind, **facts: float) -> None:
        advice.append(Advice(kind=kind, facts=tuple(facts.items())))

    estimate = estimate_median(step.seconds)
    drifted = drift(step.seconds)
    if drifted is not None:
        doubt(AdviceKind.DRIFTING_SAMPLES, drift_fraction=drifted, budget_seconds=sampling.budget_seconds)
    elif estimate.low is None:
        doubt(AdviceKind.FEW_SAMPLES, steps=len(step.seconds), budget_seconds=sampling.budget_seconds)
    elif (estimate.relative_half_width or 0.0) > max(sampling.target, WIDE):
        doubt(
            AdviceKind.NOISY_SAMPLES,
            target=sampling.target,
            steps=len(step.seconds),
            budget_seconds=sampling.budget_seconds,
        )
    if launch_seconds is not None and launch_seconds > LAUNCH_BOUND_FRACTION * median:
        doubt(AdviceKind.LAUNCH_BOUND, host_seconds=launch_seconds, device_seconds=median)
    phases = [sample.seconds for sample in samples if sample.phase is not Phase.STEP]
    phase_sum = sum(statistics.median(seconds) for seconds in phases)
    split = np.sum(np.array(phases), axis=0)
    is_marked = shift_beyond_chance(np.array(step.seconds), split, PHASE_GAP_LIMIT) is not None
    if abs(phase_sum - median) > PHASE_GAP_LIMIT * median and (is_marked or len(split) < FEWEST_STEPS):
        doubt(AdviceKind.PHASE_GAP, phase_sum_seconds=phase_sum, step_seconds=median)
    return advice
