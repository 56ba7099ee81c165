"""Timing one step on fake clocks: what is counted, what is not, when it stops and what is doubted."""

from __future__ import annotations

import gc
import math
from typing import Any
from unittest import mock

import pytest

from bench.core.advice import Advice, AdviceKind
from bench.core.record import Phase, Sample, Sampling
from bench.measure.blocks import (
    ACCELERATOR_WARMUP_SECONDS,
    TRAINING_PHASES,
    Alone,
    time_visit,
    warm_up,
    warm_up_until_steady,
)
from bench.measure.clock import clock_for
from bench.measure.timing import BLOCK_SECONDS, Timing, time_step
from bench.measure.window import Unwatched
from bench.stats.estimate import estimate_median
from tests.fakes.clock import FakeClock
from tests.fakes.gpu import FakeMachine, FakeScaler, Throttle
from tests.fakes.step import ScriptedStep

SECONDS = {Phase.FORWARD: 2**-6, Phase.LOSS: 2**-10, Phase.BACKWARD: 2**-5, Phase.OPTIMIZER: 2**-7}
STEP = sum(SECONDS.values())  # 55.7 ms: a block is one step
SHORT = {phase: seconds / 64 for phase, seconds in SECONDS.items()}  # 0.87 ms: a block is 57 steps


def timed(
    seconds: dict[Phase, object], sampling: Sampling | None = None, **options: object
) -> tuple[Timing, ScriptedStep]:
    clock = FakeClock()
    step = ScriptedStep(clock.advance, seconds, **options)
    return time_step(step, "cpu", sampling or Sampling(), window=Unwatched(clock)), step


def by_phase(timing: Timing) -> dict[Phase, Sample]:
    return {sample.phase: sample for sample in timing.samples}


def kinds(timing: Timing) -> set[AdviceKind]:
    return {advice.kind for advice in timing.advice}


def facts(timing: Timing, kind: AdviceKind) -> dict[str, object]:
    (advice,) = [advice for advice in timing.advice if advice.kind is kind]
    return dict(advice.facts)


def test_a_steady_step_gives_its_seconds_in_every_phase() -> None:
    timing, _ = timed(SECONDS)
    samples = by_phase(timing)
    assert list(samples) == [Phase.STEP, *TRAINING_PHASES]
    assert set(samples[Phase.STEP].seconds) == {STEP}
    for phase, seconds in SECONDS.items():
        assert set(samples[phase].seconds) == {seconds}
    assert timing.advice == ()
    assert timing.final_loss == 1.0


def test_an_inference_has_a_step_and_a_forward_and_no_loss() -> None:
    timing, _ = timed({Phase.FORWARD: STEP})
    assert list(by_phase(timing)) == [Phase.STEP, Phase.FORWARD]
    assert timing.final_loss is None


def test_the_warmup_runs_first_is_recorded_and_not_counted() -> None:
    slow_start = [1.0, 0.5] + [STEP] * 1000
    timing, step = timed({**SECONDS, Phase.STEP: slow_start}, Sampling(max_warmup_steps=12))
    sample = by_phase(timing)[Phase.STEP]
    assert sample.warmup_seconds == (1.0, 0.5, *[STEP] * 8)  # two windows of five: the medians agree
    assert 1.0 not in sample.seconds
    assert step.ran[: len(sample.warmup_seconds)] == [Phase.STEP] * len(sample.warmup_seconds)
    assert by_phase(timing)[Phase.FORWARD].warmup_seconds == ()


def test_a_warmup_that_does_not_settle_ends() -> None:
    falling = [2.0 ** (4 - 0.1 * index) for index in range(20)] + [0.0625] * 1000
    sampling = Sampling(max_warmup_steps=20, budget_seconds=1000)
    timing, _ = timed({**SECONDS, Phase.STEP: falling}, sampling)
    assert len(by_phase(timing)[Phase.STEP].warmup_seconds) == 20
    assert AdviceKind.DRIFTING_SAMPLES not in kinds(timing)  # what counts is whether the timed steps drift


@pytest.mark.parametrize("growth", [0.01, -0.01])
def test_steps_that_drift_are_doubted_and_have_no_interval(growth: float) -> None:
    warmup = [STEP] * 10
    drifting = [STEP * (1 + growth) ** index for index in range(1000)]
    timing, _ = timed({**SECONDS, Phase.STEP: warmup + drifting}, Sampling(budget_seconds=0.25))
    found = facts(timing, AdviceKind.DRIFTING_SAMPLES)
    sample = by_phase(timing)[Phase.STEP]
    assert len(sample.seconds) == 60  # it went on, because there was no interval
    assert found == {"drift_fraction": pytest.approx((1 + growth) ** 40 - 1), "budget_seconds": 0.25}
    assert estimate_median(sample.seconds).low is None


def test_long_steps_are_split_once_in_four() -> None:
    timing, step = timed(SECONDS)
    warmup = len(by_phase(timing)[Phase.STEP].warmup_seconds)
    turn = [Phase.STEP, *TRAINING_PHASES, *[Phase.STEP] * 3]
    assert step.ran[warmup:-1] == turn * 5
    assert {phase: len(sample.seconds) for phase, sample in by_phase(timing).items()} == {
        Phase.STEP: 20,
        **dict.fromkeys(TRAINING_PHASES, 5),
    }


def test_steps_of_seconds_are_split_five_times_too() -> None:
    timing, _ = timed({phase: seconds * 200 for phase, seconds in SECONDS.items()})  # 11 s: five are timed
    assert {len(sample.seconds) for sample in timing.samples} == {5}


def test_both_kinds_of_short_steps_get_equally_many() -> None:
    samples = by_phase(timed(SHORT)[0])
    assert len({len(sample.seconds) for sample in samples.values()}) == 1


def test_blocks_last_about_as_long_whatever_the_step() -> None:
    timing, step = timed(SHORT, Sampling(min_steps=1, min_blocks=1))
    warmup = len(by_phase(timing)[Phase.STEP].warmup_seconds)
    first_split = step.ran.index(Phase.FORWARD)
    block = first_split - warmup - 2  # a lead-in before each of the two blocks
    assert block * STEP / 64 == pytest.approx(BLOCK_SECONDS, rel=0.02)


def test_lead_ins_of_short_steps_are_dropped_and_counted() -> None:
    timing, step = timed(SHORT)
    sample = by_phase(timing)[Phase.STEP]
    blocks = len(sample.seconds) // round(BLOCK_SECONDS / (STEP / 64))
    for phase in by_phase(timing).values():
        assert phase.discarded == (("lead-in", blocks),)
    # warm-up, counted steps, one lead-in per block of either kind, and the last step that gives the loss
    assert step.ran.count(Phase.STEP) == len(sample.warmup_seconds) + len(sample.seconds) + 2 * blocks + 1


def test_long_steps_have_no_lead_in() -> None:
    timing, step = timed(SECONDS)
    sample = by_phase(timing)[Phase.STEP]
    assert sample.discarded == ()
    assert step.ran.count(Phase.STEP) == len(sample.warmup_seconds) + len(sample.seconds) + 1


def test_sampling_stops_when_the_interval_is_within_the_target() -> None:
    timing, _ = timed(SECONDS, Sampling(budget_seconds=1000))
    sample = by_phase(timing)[Phase.STEP]
    assert sample.converged is True
    assert len(sample.seconds) == 20
    assert by_phase(timing)[Phase.FORWARD].converged is None


def test_sampling_that_does_not_converge_ends_with_the_budget_and_says_so() -> None:
    noisy = [STEP * factor for factor in (1, 3, 1, 5, 2, 7, 1, 4, 9, 1, 6)]
    sampling = Sampling(budget_seconds=20.0, target=0.001, max_warmup_steps=10)
    timing, _ = timed({**SECONDS, Phase.STEP: noisy}, sampling)
    sample = by_phase(timing)[Phase.STEP]
    assert sample.converged is False
    assert facts(timing, AdviceKind.NOISY_SAMPLES) == {
        "target": 0.001,
        "steps": len(sample.seconds),
        "budget_seconds": 20.0,
    }
    # Four fifths of the budget are for whole steps; the step that crosses the border is the last one.
    assert 16.0 <= sum(sample.seconds) < 16.0 + 9 * STEP


def test_an_interval_that_misses_its_target_and_is_narrow_is_no_doubt() -> None:
    noisy = [STEP * factor for factor in (1, 1.04, 0.97, 1.02, 0.99, 1.05, 0.95)]
    timing, _ = timed({**SECONDS, Phase.STEP: noisy}, Sampling(budget_seconds=0.25, target=0.001))
    assert by_phase(timing)[Phase.STEP].converged is False
    assert AdviceKind.NOISY_SAMPLES not in kinds(timing)


@pytest.mark.parametrize("most", [1, 30, 57, 100])
def test_sampling_never_exceeds_the_most_steps(most: int) -> None:
    noisy = [STEP / 64 * factor for factor in (1, 3, 1, 5, 2, 7, 1, 4, 9, 1, 6)]
    timing, _ = timed(
        {**SHORT, Phase.STEP: noisy}, Sampling(budget_seconds=1e6, target=1e-6, max_steps=most, min_steps=1)
    )
    assert {len(sample.seconds) for sample in timing.samples} == {most}


def test_the_collector_is_off_while_measuring_and_back_on_afterwards() -> None:
    seen = set()

    class Step(ScriptedStep):
        def forward(self) -> str:
            seen.add(gc.isenabled())
            return super().forward()

    clock = FakeClock()
    time_step(Step(clock.advance, SECONDS), "cpu", Sampling(), window=Unwatched(clock))
    assert seen == {False}
    assert gc.isenabled()


def test_a_step_that_raises_leaves_the_collector_on() -> None:
    class Step(ScriptedStep):
        def __call__(self) -> None:
            raise RuntimeError("no")

    clock = FakeClock()
    with pytest.raises(RuntimeError, match="no"):
        time_step(Step(clock.advance, SECONDS), "cpu", Sampling(), window=Unwatched(clock))
    assert gc.isenabled()


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_doubted_and_not_stored(loss: float) -> None:
    timing, _ = timed(SECONDS, loss=loss)
    assert timing.final_loss is None
    assert Advice(kind=AdviceKind.NONFINITE_LOSS, facts=(("loss", str(loss)),)) in timing.advice


def test_phases_that_do_not_add_up_to_the_step_are_doubted() -> None:
    timing, _ = timed(SECONDS, mark_seconds=0.06 * STEP / 4)
    found = facts(timing, AdviceKind.PHASE_GAP)
    assert found == {"phase_sum_seconds": pytest.approx(1.06 * STEP), "step_seconds": pytest.approx(STEP)}


def test_a_small_gap_is_not_doubted() -> None:
    assert AdviceKind.PHASE_GAP not in kinds(timed(SECONDS, mark_seconds=0.04 * STEP / 4)[0])


def test_samples_say_which_process_took_them() -> None:
    clock = FakeClock()
    step = ScriptedStep(clock.advance, SECONDS)
    timing = time_step(step, "cpu", Sampling(), process=2, window=Unwatched(clock))
    assert {sample.process for sample in timing.samples} == {2}
    assert {sample.clock for sample in timing.samples} == {"host"}
    assert {sample.host_seconds for sample in timing.samples} == {()}


def on_accelerator(launch_seconds: float) -> tuple[Timing, FakeMachine]:
    accelerator = FakeMachine(launch_seconds=launch_seconds)
    with accelerator.installed():
        step = ScriptedStep(accelerator.advance, {**SECONDS, Phase.STEP: STEP})
        return time_step(step, "cuda:0", Sampling(), window=Unwatched(clock_for("cuda:0"))), accelerator


def test_a_device_is_timed_on_its_own_clock_with_the_host_beside_it() -> None:
    timing, _ = on_accelerator(launch_seconds=2**-12)
    sample = by_phase(timing)[Phase.STEP]
    assert sample.clock == "device"
    assert sample.seconds == pytest.approx([STEP] * len(sample.seconds), rel=0.01)
    assert sample.host_seconds == pytest.approx([2**-12] * len(sample.seconds), rel=0.01)
    assert timing.advice == ()


def test_an_accelerator_is_warmed_up_for_its_second() -> None:
    timing, _ = on_accelerator(launch_seconds=2**-12)
    assert sum(by_phase(timing)[Phase.STEP].warmup_seconds) >= ACCELERATOR_WARMUP_SECONDS


def test_the_device_is_synchronised_at_borders_of_blocks_only() -> None:
    timing, accelerator = on_accelerator(launch_seconds=2**-12)
    sample = by_phase(timing)[Phase.STEP]
    blocks = len(sample.warmup_seconds) + 2 * len(sample.seconds) // 5  # a block is five steps here
    assert accelerator.synchronizations == 2 * blocks


class EagerStep(ScriptedStep):
    """A model whose forward pass takes longer to launch than to run, and its backward pass less."""

    scaled = 1.0

    def __init__(self, accelerator: FakeMachine, scale: float) -> None:
        self._accelerator = accelerator
        launches = {Phase.FORWARD: 15e-3, Phase.LOSS: 0.1e-3, Phase.BACKWARD: 12e-3, Phase.OPTIMIZER: 1e-3}
        seconds = {Phase.FORWARD: 8e-3, Phase.LOSS: 0.1e-3, Phase.BACKWARD: 26e-3, Phase.OPTIMIZER: 4e-3}
        by_seconds = {scale * seconds[phase]: scale * launches[phase] for phase in seconds}
        script = {phase: scale * taken for phase, taken in seconds.items()}
        super().__init__(lambda taken: accelerator.advance(taken, by_seconds[taken]), script)


@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
def test_a_step_is_timed_with_a_full_queue_however_long_it_is(scale: float) -> None:
    accelerator = FakeMachine()
    with accelerator.installed():
        timing = time_step(EagerStep(accelerator, scale), "cuda:0", Sampling(), window=Unwatched(clock_for("cuda:0")))
    for phase, seconds in ((Phase.STEP, 38.1e-3), (Phase.FORWARD, 8e-3)):
        found = by_phase(timing)[phase].seconds  # every one, also the first of a block
        assert found == pytest.approx([seconds * scale] * len(found), rel=0.02)
    assert timing.advice == ()


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_a_visit_of_ab_is_timed_with_a_full_queue_however_few_its_steps(steps: int) -> None:
    machine = FakeMachine()
    with machine.installed():
        seconds = time_visit(EagerStep(machine, 1.0), clock_for("cuda:0"), steps)  # type: ignore[arg-type]
    assert seconds == pytest.approx([38.1e-3] * steps, rel=0.02)  # 45.3 ms where each waits for its launches (A2)


def test_a_full_queue_is_not_launch_bound() -> None:
    accelerator = FakeMachine(launch_seconds=0.3e-3, queue_depth=1000)
    with accelerator.installed():
        step = ScriptedStep(accelerator.advance, {Phase.FORWARD: 1e-3})
        timing = time_step(step, "cuda:0", Sampling(), window=Unwatched(clock_for("cuda:0")))
    host = by_phase(timing)[Phase.STEP].host_seconds
    assert max(host) > 0.9e-3  # the host waited for room in the queue
    assert AdviceKind.LAUNCH_BOUND not in kinds(timing)


def throttled(reason: str, start: float, end: float) -> Sample:
    machine = FakeMachine()
    machine.gpu.throttles = [Throttle(reason, factor=2.0, start=start, end=end)]
    with machine.installed():
        step = ScriptedStep(machine.advance, {Phase.FORWARD: 0.01})
        timing = time_step(step, "cuda:0", Sampling(budget_seconds=1.0), window=Unwatched(clock_for("cuda:0")))
    return by_phase(timing)[Phase.STEP]


def test_steps_at_a_clock_that_heat_lowered_are_thrown_away_and_counted() -> None:
    sample = throttled("thermal", start=1.2, end=1.6)
    assert dict(sample.discarded)["throttled"] >= 5
    assert sample.seconds == pytest.approx([0.01] * len(sample.seconds), rel=0.02)


def test_a_power_cap_is_how_a_gpu_works_and_throws_nothing_away() -> None:
    sample = throttled("power", start=1.2, end=1.3)
    assert "throttled" not in dict(sample.discarded)


@pytest.mark.parametrize("lost", ["nvmlDeviceGetHandleByUUID", "nvmlDeviceGetCurrentClocksThrottleReasons"])
def test_a_block_whose_clock_nobody_saw_is_not_thrown_away(lost: str) -> None:
    """What was seen of the block before says nothing of it."""
    machine = FakeMachine()
    machine.gpu.throttles = [Throttle("thermal", start=1.2)]

    def advance(seconds: float) -> None:
        machine.lacks = (lost,) if machine.gpu.worked > 1.4 else ()
        machine.advance(seconds)

    with machine.installed():
        clock = clock_for("cuda:0")
        timing = time_step(ScriptedStep(advance, {Phase.FORWARD: 0.01}), "cuda:0", Sampling(), window=Unwatched(clock))
    seen = sum("thermal" in (one.throttle_reasons or ()) for one in clock.glances)
    sample = by_phase(timing)[Phase.STEP]
    assert dict(sample.discarded)["throttled"] == 5 * seen > 0
    assert max(sample.seconds) == pytest.approx(0.02, rel=0.02)


class HotNeighbour(Alone):
    """A second rank, whose GPU lowers its clock in one block."""

    blocks = 0

    def agree(self, seconds: list[float]) -> list[float]:
        if seconds not in ([0.0], [1.0]):
            return seconds
        self.blocks += 1
        return [float(self.blocks == 2)]


def test_all_ranks_throw_away_the_block_in_which_one_was_throttled() -> None:
    machine = FakeMachine()
    with machine.installed():
        step = ScriptedStep(machine.advance, {Phase.FORWARD: 0.01})
        clock, team = clock_for("cuda:0"), HotNeighbour()
        timing = time_step(step, "cuda:0", Sampling(budget_seconds=1.0), window=Unwatched(clock), team=team)
    assert dict(by_phase(timing)[Phase.STEP].discarded)["throttled"] == 5
    assert team.blocks > 2


def test_a_gpu_that_is_always_too_hot_is_measured_as_it_is() -> None:
    sample = throttled("thermal", start=0.0, end=math.inf)
    assert sample.seconds == pytest.approx([0.02] * len(sample.seconds), rel=0.02)
    assert 0 < dict(sample.discarded)["throttled"] <= 2 * len(sample.seconds)


def test_a_clock_that_ramps_has_settled_before_the_first_sample() -> None:
    machine = FakeMachine()
    machine.gpu.ramp_seconds = 0.5
    with machine.installed():
        step = ScriptedStep(machine.advance, {Phase.FORWARD: 0.01})
        timing = time_step(step, "cuda:0", Sampling(), window=Unwatched(clock_for("cuda:0")))
    sample = by_phase(timing)[Phase.STEP]
    assert max(sample.warmup_seconds) > 0.03
    assert sample.seconds == pytest.approx([0.01] * len(sample.seconds), rel=0.02)


def test_a_first_step_that_compiles_is_no_warm_up_of_ab_and_profile() -> None:
    machine = FakeMachine()
    launching = iter([60.0])  # the host compiles for a minute, and the GPU idles
    with machine.installed():
        step: Any = mock.Mock(side_effect=lambda: machine.advance(0.01, next(launching, 1e-3)), scaler=None)
        seconds = warm_up(step, clock_for("cuda:0"), "cuda:0")
    assert sum(seconds[3:]) >= ACCELERATOR_WARMUP_SECONDS


@pytest.mark.parametrize(("device", "least"), [("cuda:0", ACCELERATOR_WARMUP_SECONDS), ("cpu", 2.0)])
def test_short_steps_are_warmed_up_in_blocks(device: str, least: float) -> None:
    """One by one, the GPU would idle between them, and looking back at thousands of them would take as long again."""
    machine, starts, first = FakeMachine(), 0, iter([60.0])  # the first step compiles
    with machine.installed():
        step: Any = mock.Mock(side_effect=lambda: machine.advance(1e-3, next(first, 1e-3)), scaler=None)
        clock = clock_for(device)
        start = clock.start

        def counted() -> None:
            nonlocal starts
            starts += 1
            start()

        with mock.patch.object(clock, "start", side_effect=lambda _=None: counted()):
            seconds = warm_up_until_steady(step, clock, Sampling(min_warmup_seconds=least))
    assert least <= sum(seconds[1:])  # what is left out of it after the first step is no reason for one more
    assert sum(seconds[3:]) < 1.1 * least + 0.1
    assert starts <= 3 + least / 0.05 + 10
    assert step.call_count == len(seconds) > 900 * least


class ScaledStep(ScriptedStep):
    """A step that is ten times as long when it updates the weights."""

    def __init__(self, clock: FakeClock, overflows: int) -> None:
        super().__init__(clock.advance, {**SECONDS, Phase.STEP: STEP})
        self.scaler = FakeScaler(overflows)  # type: ignore[assignment]
        self.clock = clock

    def __call__(self) -> object:
        loss = super().__call__()
        if not self.scaler.skips():
            self.clock.advance(9 * STEP)
        return loss


def scaled(overflows: int) -> Timing:
    clock = FakeClock()
    return time_step(ScaledStep(clock, overflows), "cpu", Sampling(budget_seconds=0.1), window=Unwatched(clock))


@pytest.mark.parametrize("overflows", [0, 4, 16])
def test_nothing_is_timed_before_a_step_has_updated_the_weights(overflows: int) -> None:
    timing = scaled(overflows)
    assert set(by_phase(timing)[Phase.STEP].seconds) == {10 * STEP}
    assert AdviceKind.SKIPPED_UPDATES not in kinds(timing)


def test_visits_of_ab_begin_after_a_step_has_updated_the_weights() -> None:
    """A warm-up of 20 steps ends while the scale still falls (A4)."""
    clock = FakeClock()
    step = ScaledStep(clock, overflows=25)
    warm_up(step, clock, "cpu")  # type: ignore[arg-type]
    assert step.scaler.overflows == 0  # type: ignore[union-attr]


def test_updates_that_are_skipped_for_ever_are_counted_and_doubted() -> None:
    timing = scaled(100)
    assert facts(timing, AdviceKind.SKIPPED_UPDATES) == {"skipped_updates": len(by_phase(timing)[Phase.STEP].seconds)}


def test_updates_that_are_skipped_until_the_scale_is_0_are_doubted() -> None:
    clock = FakeClock()
    step = ScaledStep(clock, overflows=10_000)
    timing = time_step(step, "cpu", Sampling(min_steps=200, budget_seconds=400 * STEP), window=Unwatched(clock))  # type: ignore[arg-type]
    assert step.scaler.get_scale() == 0.0  # type: ignore[union-attr]
    assert facts(timing, AdviceKind.SKIPPED_UPDATES)["skipped_updates"] >= len(by_phase(timing)[Phase.STEP].seconds)


def test_a_step_whose_launch_takes_longer_than_its_work_is_launch_bound() -> None:
    timing, _ = on_accelerator(launch_seconds=1.5 * STEP)
    found = facts(timing, AdviceKind.LAUNCH_BOUND)
    assert found == {
        "host_seconds": pytest.approx(1.5 * STEP, rel=0.01),
        "device_seconds": pytest.approx(1.5 * STEP, rel=0.02),
    }


def test_a_step_with_a_full_queue_is_not_launch_bound() -> None:
    assert AdviceKind.LAUNCH_BOUND not in kinds(on_accelerator(launch_seconds=0.5 * STEP)[0])


@pytest.mark.parametrize(
    ("wait", "scaler", "is_said"),
    [("item", None, False), ("synchronize", FakeScaler(0), False), ("synchronize", None, True)],
)
def test_a_wait_for_the_device_is_no_launching(wait: str, scaler: FakeScaler | None, is_said: bool) -> None:
    """A GradScaler, or `.item()`, reads a value: launching seems to take as long as the step (B2)."""
    machine = FakeMachine()
    with machine.installed():

        def run(seconds: float) -> None:
            machine.advance(seconds, 1e-4)
            getattr(machine, wait)(0)  # torch warns of values that are read, and of no other wait

        step = ScriptedStep(run, {**SECONDS, Phase.STEP: STEP})
        step.scaler = scaler  # type: ignore[assignment]
        timing = time_step(step, "cuda:0", Sampling(), window=Unwatched(clock_for("cuda:0")))  # type: ignore[arg-type]
    assert (AdviceKind.LAUNCH_BOUND in kinds(timing)) is is_said
    assert machine.sync_debug == 0
