"""Clocks mark borders, and do their arithmetic only when they are read."""

from __future__ import annotations

import pytest

from bench.core.errors import UsageError
from bench.core.record import Phase
from bench.device.cpu import CpuBackend
from bench.measure import clock as clock_module
from bench.measure.blocks import time_phases, time_steps
from bench.measure.clock import ColdClock, HostClock, clock_for
from tests.fakes.clock import FakeClock
from tests.fakes.gpu import FakeMachine
from tests.fakes.step import ScriptedStep

SECONDS = {Phase.FORWARD: 1.0, Phase.LOSS: 0.5, Phase.BACKWARD: 2.0, Phase.OPTIMIZER: 0.25}


def test_the_clock_follows_the_kind_of_device() -> None:
    assert clock_for("cpu").name == "host"
    assert clock_for("cuda:0").name == "device"


def test_the_host_clock_returns_seconds_between_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([5_000_000_000, 5_001_000_000, 5_001_000_500, 9_000_000_000, 9_250_000_000])
    monkeypatch.setattr(clock_module.time, "perf_counter_ns", lambda: next(times))
    clock = HostClock()
    clock.start()
    clock.mark()
    clock.mark()
    assert clock.collect() == ([0.001, 5e-7], [])
    clock.start()  # forgets the marks before
    clock.mark()
    assert clock.collect() == ([0.25], [])


def test_the_host_clock_never_goes_backwards() -> None:
    clock = HostClock()
    clock.start()
    for _ in range(100):
        clock.mark()
    seconds, host_seconds = clock.collect()
    assert len(seconds) == 100
    assert min(seconds) >= 0
    assert host_seconds == []


def test_a_device_clock_reads_the_device_and_the_host_beside_it() -> None:
    accelerator = FakeMachine(launch_seconds=0.001)
    with accelerator.installed():
        clock = clock_for("cuda:0")
        clock.start()
        for seconds in (0.005, 0.007):
            accelerator.advance(seconds)
            clock.mark()
        seconds, host_seconds = clock.collect()
    # The first of a hundred kernels keeps an empty queue waiting; later launches hide behind the work before them.
    assert seconds == pytest.approx([0.005 + 0.001 / 100, 0.007], rel=1e-4)
    assert host_seconds == pytest.approx([0.001, 0.001], rel=1e-4)


def test_a_device_clock_synchronises_at_start_and_collect_only() -> None:
    accelerator = FakeMachine(launch_seconds=0.001)
    with accelerator.installed():
        clock = clock_for("cuda:0")
        clock.start()
        assert accelerator.synchronizations == 1
        for _ in range(5):
            accelerator.advance(0.01)
            clock.mark()
        assert accelerator.synchronizations == 1
        clock.collect()
        assert accelerator.synchronizations == 2


def test_work_queued_before_start_is_not_counted() -> None:
    accelerator = FakeMachine(launch_seconds=0.001)
    with accelerator.installed():
        clock = clock_for("cuda:0")
        accelerator.advance(10.0)
        clock.start()
        accelerator.advance(0.005)
        clock.mark()
        seconds, host_seconds = clock.collect()
    assert seconds == pytest.approx([0.005 + 0.001 / 100], rel=1e-4)
    assert host_seconds == pytest.approx([0.001], rel=1e-4)


def test_a_slow_launch_is_what_both_clocks_see() -> None:
    accelerator = FakeMachine(launch_seconds=0.007)
    with accelerator.installed():
        clock = clock_for("cuda:0")
        clock.start()
        accelerator.advance(0.005)
        clock.mark()
        seconds, host_seconds = clock.collect()
    assert seconds == pytest.approx([0.007 + 0.005 / 100], rel=1e-4)
    assert host_seconds == pytest.approx([0.007], rel=1e-4)


def test_a_fake_clock_starts_anywhere() -> None:
    starts = {FakeClock().now for _ in range(8)}
    assert len(starts) > 1


@pytest.mark.gpu
def test_a_real_device_clock_sees_work_that_the_host_does_not_wait_for() -> None:
    import torch

    matrix = torch.rand(4096, 4096, device="cuda:0")
    clock = clock_for("cuda:0")
    for _ in range(2):  # the first time pays for the library's start
        clock.start()
        for _ in range(20):
            matrix @ matrix
        clock.mark()
        seconds, host_seconds = clock.collect()
    assert host_seconds[0] < seconds[0]


# Cold caches.


def cold(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> ColdClock:
    """Emptying the cache takes 100 s."""
    monkeypatch.setattr(clock_module, "cache_filler", lambda *_: lambda: clock.advance(100.0))
    return ColdClock(clock, "cpu")


def test_emptying_the_cache_is_in_no_step_and_no_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    step = ScriptedStep(clock.advance, SECONDS)
    before = clock.now
    assert time_steps(step, cold(clock, monkeypatch), 3)[0] == [sum(SECONDS.values())] * 3  # type: ignore[arg-type]
    assert clock.now - before > 400
    found = time_phases(step, cold(clock, monkeypatch), 2, lead_in=True)[0]  # type: ignore[arg-type]
    assert found == {phase: [seconds] * 2 for phase, seconds in SECONDS.items()}


def test_a_gpu_empties_its_cache_between_the_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = FakeMachine()
    monkeypatch.setattr(clock_module, "cache_filler", lambda *_: lambda: machine.advance(0.002, 1e-5))
    with machine.installed():
        clock = ColdClock(clock_for("cuda:0"), "cuda:0")
        seconds, host_seconds = time_steps(lambda: machine.advance(0.005, 1e-4), clock, 5, lead_in=True)  # type: ignore[arg-type, return-value]
    assert seconds == pytest.approx([0.005] * 5, rel=0.01)
    assert len(host_seconds) == 5


def test_a_device_that_hides_its_cache_cannot_have_it_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CpuBackend, "cache_bytes", lambda _: None)
    with pytest.raises(UsageError, match="cpu does not tell"):
        ColdClock(FakeClock(), "cpu")


def test_the_filler_touches_every_byte() -> None:
    fill = clock_module.cache_filler(4096, "cpu")
    assert fill() is not None
