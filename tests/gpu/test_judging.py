"""The judging of a GPU's answers: right ones pass, and each wrong one is found. It proves nothing about a GPU."""

from __future__ import annotations

import pytest

from tests.gpu import judging

PEAK = {"peak_allocated_bytes": 100, "peak_reserved_bytes": 120, "device_used_bytes": 600}
TRUTH = {"peak": 100, "workspaces": 32}
PHASES = {"forward": 0.4, "backward": 0.6}
SHEET = {"bf16": 100.0, "bytes": 10.0}

RIGHT = [
    judging.wall_clock(1.0, 1.02, PHASES, "device"),
    judging.launch_bound(0.95, 1.0, True),
    judging.launch_bound(0.3, 1.0, False),
    judging.memory(PEAK, TRUTH, 68),
    judging.peaks({"bf16": 80.0, "bytes": 9.0}, SHEET),
    judging.out_of_memory(["out_of_memory", "ok"], ["skipped"]),
    judging.energy(1.0, 500.0, 1.05, 480.0),
    judging.launches(120, 100),
    judging.same_speed(1.0, 1.05),
    judging.graphs(1.0, 0.5, 120, 100),
    judging.fitted(95, 100),
    judging.unchanged(0, {"gpu shared": 0}),
]
WRONG = [
    judging.wall_clock(1.19, 1.0, PHASES, "device"),
    judging.wall_clock(1.0, 1.0, {"forward": 0.8, "backward": 0.6}, "device"),
    judging.wall_clock(1.0, 1.0, PHASES, "host"),
    judging.wall_clock(None, 1.0, PHASES, "device"),
    judging.launch_bound(0.3, 1.0, True),
    judging.launch_bound(0.95, 1.0, False),
    judging.memory({**PEAK, "peak_allocated_bytes": 110}, TRUTH, 68),
    judging.memory({**PEAK, "device_used_bytes": None}, TRUTH, 68),
    judging.memory(PEAK, TRUTH, 100),
    judging.memory(PEAK, TRUTH, 20),
    judging.memory(PEAK, TRUTH, None),
    judging.peaks({"bf16": 30.0}, SHEET),
    judging.peaks({"bf16": 200.0}, SHEET),
    judging.peaks({}, SHEET),
    judging.out_of_memory(["failed", "ok"], ["skipped"]),
    judging.out_of_memory(["out_of_memory", "failed"], ["skipped"]),
    judging.out_of_memory(["out_of_memory", "ok"], ["out_of_memory"]),
    judging.energy(2.0, 500.0, 1.0, 500.0),
    judging.energy(1.0, 80.0, 1.0, 500.0),
    judging.launches(0, 100),
    judging.launches(80, 100),
    judging.launches(None, None),
    judging.same_speed(1.0, 0.1),
    judging.graphs(1.0, 2.0, 100, 100),
    judging.graphs(1.0, 0.5, 1000, 100),
    judging.fitted(30, 100),
    judging.fitted(130, 100),
    judging.fitted(None, 100),
    judging.unchanged(1, {}),
    judging.unchanged(0, {"gpu shared": 3}),
]


@pytest.mark.parametrize("wrong", RIGHT)
def test_a_right_answer_passes(wrong: list[str]) -> None:
    assert wrong == []


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_is_found_with_a_reason(wrong: list[str]) -> None:
    assert wrong
    assert all(wrong)
