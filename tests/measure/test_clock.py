"""Clocks mark borders, and do their arithmetic only when they are read."""

from __future__ import annotations

import pytest

from bench.measure import clock as clock_module
from bench.measure.clock import HostClock, clock_for
from tests.fakes.clock import FakeClock
from tests.fakes.gpu import FakeMachine


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
