"""A pipeline that starves its step, and one that does not. Both costs are work, not sleep, and far apart."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import Dataset

from bench.core.advice import AdviceKind
from bench.core.training import DataFacts
from bench.device import environment
from bench.device.cpu import read_counters
from bench.measure import window as window_module
from bench.measure.clock import clock_for
from bench.measure.scenarios import pipeline
from bench.measure.scenarios.images import Digits
from bench.measure.scenarios.pipeline import measure_pipeline
from bench.measure.window import Window
from tests.fakes.clock import CountingHostClock, FakeClock
from tests.fakes.gpu import FakeMachine, Throttle
from tests.measure.scenarios.small import small_plan
from tests.measure.test_timing import STEP, EagerStep, ScaledStep


class Made(Dataset):
    """Images that cost a number of matrix products each."""

    def __init__(self, work: int) -> None:
        self.work = work
        self.image = torch.zeros(784)
        self.matrix = torch.eye(128)

    def __getitem__(self, key):
        for _ in range(self.work):
            torch.mm(self.matrix, self.matrix)
        return self.image, key[1] % 10


def made(work: int) -> Digits:
    facts = DataFacts(name="made", train_examples=64, test_examples=64, input_shape=(784,), classes=10)
    return Digits(facts, Made(work), Made(work))


def test_a_busy_transform_starves_the_step_and_the_advice_has_the_figures() -> None:
    point = measure_pipeline(small_plan("made", batch_size=8), 0.02, made(work=100))
    (advice,) = point.advice
    facts = dict(advice.facts)
    assert advice.kind is AdviceKind.DATA_STARVED
    assert point.wait_fraction == pytest.approx(facts["wait_fraction"])
    assert facts["wait_fraction"] > 0.5
    assert facts["wait_seconds"] == pytest.approx(sum(point.wait_seconds) / len(point.wait_seconds))
    assert facts["workers"] == 0
    assert point.data_examples_per_second < point.step_examples_per_second


def test_a_cheap_pipeline_does_not_starve_a_large_step() -> None:
    point = measure_pipeline(small_plan("made", batch_size=8, model="mlp@width=2048,depth=4"), 0.02, made(work=0))
    assert point.advice == ()
    assert point.wait_fraction < 0.1
    assert point.data_examples_per_second > point.step_examples_per_second


def test_three_throughputs_come_from_raw_times() -> None:
    point = measure_pipeline(small_plan("made", batch_size=8, workers=1, prefetch=1), 0.02, made(work=0))
    for seconds, rate in (
        (point.data_seconds, point.data_examples_per_second),
        (point.step_seconds, point.step_examples_per_second),
        (point.joint_seconds, point.joint_examples_per_second),
    ):
        assert len(seconds) >= 5
        assert rate == pytest.approx(8 * len(seconds) / sum(seconds))
    assert all(wait <= both for wait, both in zip(point.wait_seconds, point.joint_seconds, strict=True))
    assert point.start_seconds > 0


def test_the_step_alone_is_warm_and_timed_with_a_full_queue() -> None:
    """As in a training; the clock of an idle GPU is low (A5), and an empty queue lets forward wait (A2)."""
    machine = FakeMachine()
    machine.gpu.ramp_seconds = 0.5
    with machine.installed():
        clock, step, plan = clock_for("cuda:0"), EagerStep(machine, 1.0), small_plan("made", device="cuda:0")
        pipeline._warm_up(step, plan, clock)  # type: ignore[arg-type]
        seconds = pipeline._time_step(step, plan, clock, 0.1)  # type: ignore[arg-type]
    assert seconds == pytest.approx([38.1e-3] * len(seconds), rel=0.02)


def test_the_step_alone_updates_the_weights() -> None:
    """In fp16-amp the first updates are skipped, and such a step is shorter (A4)."""
    clock = FakeClock()
    step, plan = ScaledStep(clock, overflows=10), small_plan("made")
    pipeline._warm_up(step, plan, clock)  # type: ignore[arg-type]
    seconds = pipeline._time_step(step, plan, clock, 0.0)  # type: ignore[arg-type]
    assert set(seconds) == {10 * STEP}


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    """A fake GPU, and a loader that always has a batch."""
    monkeypatch.setattr(pipeline, "_loader", lambda *_: itertools.repeat((None, None)))
    monkeypatch.setattr(pipeline, "feed", lambda *_: None)
    return FakeMachine()


def test_beside_the_loader_a_step_is_timed_with_a_full_queue_too(fed: FakeMachine) -> None:
    """The first of an empty queue would wait for its launches (A2)."""
    with fed.installed():
        step, plan = EagerStep(fed, 1.0), small_plan("made", device="cuda:0")
        waits, rests = pipeline._time_both(step, plan, made(0), clock_for("cuda:0"), 0.0)  # type: ignore[arg-type]
    assert rests == pytest.approx([38.1e-3] * 5, rel=0.02)
    assert waits == pytest.approx([0.0] * 5, abs=1e-6)


def test_the_window_is_of_the_step_alone_and_beside_the_loader(
    fed: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed.gpu.throttles = [Throttle("thermal", end=0.5)]  # in the warm-up only
    monkeypatch.setattr(pipeline.registry, "resolve", lambda *_, **__: None)
    with fed.installed():
        monkeypatch.setattr(pipeline, "prepare", lambda *_: contextlib.nullcontext(EagerStep(fed, 0.1)))
        window = Window("cuda:0", fed.gpu.uuid)
        measure_pipeline(small_plan("made", device="cuda:0"), 0.0, made(0), window)
        state = window.state()
    assert (state.gpu_clock_mhz, state.gpu_throttle_reasons) == (1980, ())


def test_the_loader_alone_is_time_of_the_host_and_not_of_the_gpu(
    fed: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The GPU idles then: a clock that is lowered whenever it works would seem to be lowered for a part of the time."""
    fed.gpu.throttles = [Throttle("thermal")]
    monkeypatch.setattr(pipeline.registry, "resolve", lambda *_, **__: None)
    monkeypatch.setattr(environment, "time", SimpleNamespace(perf_counter=lambda: fed.host_now, monotonic=lambda: 0.0))
    began = read_counters()

    def load(*_: object) -> tuple[float, list[float]]:
        fed.sleep(100.0)
        return 0.0, [1.0] * 5

    monkeypatch.setattr(pipeline, "_time_loader", load)
    ticks = (replace(began, total_seconds=8.0 * at, busy_seconds=4.0 * at) for at in itertools.count())
    for module in (environment, window_module):
        monkeypatch.setattr(module, "read_counters", lambda: next(ticks))
    with fed.installed():
        monkeypatch.setattr(pipeline, "prepare", lambda *_: contextlib.nullcontext(EagerStep(fed, 1.0)))
        window = Window("cuda:0", fed.gpu.uuid)
        measure_pipeline(small_plan("made", device="cuda:0"), 0.0, made(0), window)
        state = window.state()
    assert state.gpu_throttle_reasons == ("thermal",)
    assert dict(state.gpu_throttled)["thermal"] > 0.9
    assert window.after.total_seconds - window.before.total_seconds == 3 * 8.0  # the three measurements


def test_the_clock_of_the_window_sees_the_step_alone_and_beside_the_loader() -> None:
    window, clock = Window("cpu", None), CountingHostClock()
    window.clock = clock
    measure_pipeline(small_plan("made", batch_size=8), 0.0, made(work=0), window)
    assert clock.collected == 3  # the warm-up, the step alone, both
