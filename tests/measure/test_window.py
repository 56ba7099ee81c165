"""A window that is entered several times holds what is timed, and nothing of what lies between."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.device import environment
from bench.device.cpu import Reading
from bench.device.readings import Glance
from bench.measure import window as module
from bench.measure.window import Window
from tests.fakes.clock import FakeClock

START = Reading(
    busy_seconds=100.0,
    steal_seconds=5.0,
    total_seconds=1000.0,
    own_seconds=2.0,
    involuntary_switches=3,
    throttled_seconds=(("thermal", 7.0), ("power", 1.0)),
    at_seconds=50.0,
)


def later(reading: Reading, busy: float, thermal: float, switches: int) -> Reading:
    """Two seconds later."""
    return replace(
        reading,
        busy_seconds=None if reading.busy_seconds is None else reading.busy_seconds + busy,
        total_seconds=1000.0 if reading.total_seconds is None else reading.total_seconds + 8.0,
        own_seconds=reading.own_seconds + 1.0,
        involuntary_switches=reading.involuntary_switches + switches,
        throttled_seconds=tuple((name, s + thermal * (name == "thermal")) for name, s in reading.throttled_seconds),
        at_seconds=reading.at_seconds + 2.0,
    )


def entered_thrice(monkeypatch: pytest.MonkeyPatch, start: Reading) -> Window:
    """Time for two seconds, three times, with two seconds of warm-up before each."""
    readings = [start]
    for index in range(5):
        is_warm_up = index % 2
        readings.append(later(readings[-1], *((8.0, 2.0, 50) if is_warm_up else (2.0, 0.5, 1))))
    coming = iter(readings)
    monkeypatch.setattr(module, "read_machine", lambda *_: next(coming))
    clock = FakeClock()
    clock.glances = []
    monkeypatch.setattr(module, "clock_for", lambda _: clock)
    window = Window("cpu", None)
    for _ in range(3):
        clock.glances.append(Glance(throttle_reasons=("hardware",)))
        with window:
            clock.glances.append(Glance(throttle_reasons=()))
    clock.glances.append(Glance(throttle_reasons=("hardware",)))
    return window


def test_what_lies_between_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.os, "cpu_count", lambda: 4)
    state = entered_thrice(monkeypatch, START).state()
    assert state.gpu_throttled == (("thermal", 0.25),)
    assert state.involuntary_switches == 3
    assert state.other_busy_cores == 0.5  # 2 s of 8 are busy, one of them ours
    assert state.steal_fraction == 0.0


def test_what_nobody_counts_stays_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    window = entered_thrice(monkeypatch, replace(START, busy_seconds=None, steal_seconds=None, throttled_seconds=()))
    assert (window.before.busy_seconds, window.before.steal_seconds, window.before.throttled_seconds) == (
        None,
        None,
        (),
    )
    assert (window.state().other_busy_cores, window.state().gpu_throttled) == (None, ())
