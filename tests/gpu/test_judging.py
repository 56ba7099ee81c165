"""The judging of a GPU's answers: right ones pass, and each wrong one is found. It proves nothing about a GPU."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from bench.device.readings import Glance
from tests.gpu import judging

PEAK = {"peak_allocated_bytes": 100, "peak_reserved_bytes": 120, "device_used_bytes": 600, "method": "peaks"}
UNTOLD = {**PEAK, "device_used_bytes": None}
TRUTH = {"peak": 100}
PHASES = {"forward": 0.4, "backward": 0.6}
SHEET = {"bf16": 100.0, "bytes": 10.0}
TOO_LOW = {"bf16": 52.0, "fp16": 52.0, "tf32": 47.0, "fp32": 57.0, "bytes": 72.0}
UNTOLD_CLOCK = [Glance(clock_mhz=1980)] * 12
FREE = [Glance(clock_mhz=1980, throttle_reasons=())] * 12
CAPPED = [Glance(clock_mhz=1500, throttle_reasons=("power",))] * 8 + FREE[:4]


def state(mhz: float | None, *reasons: str) -> dict[str, object]:
    return {"gpu_clock_mhz": mhz, "gpu_throttle_reasons": reasons}


RIGHT = [
    judging.environment(600, 500, True),
    judging.environment("NVML does not list this process", 500, False),
    judging.wall_clock(1.0, 1.01, PHASES, "device", is_long=True),
    judging.launches_seen({"my_net": 300, "short": None}),
    judging.clocks(CAPPED, state(1550, "power")),
    judging.clocks(FREE, state(1980)),
    judging.clocks(UNTOLD_CLOCK, state(1980, "power")),  # by the driver's counters
    *(judging.clocks(CAPPED[7:] + FREE[:5], state(1980, *said)) for said in ((), ("power",))),  # a tenth: either way
    judging.profile(0.99, 1.0, "device"),
    judging.cost(9.0, 4.0),
    judging.every_test(20, 0, ["not asked: 1 GPU"]),
    judging.wall_clock(1.0, 1.02, PHASES, "device"),
    judging.launch_bound(0.95, 1.0, True),
    judging.launch_bound(0.3, 1.0, False),
    *(judging.launch_bound(share, 1.0, is_said) for share in (0.87, 0.93) for is_said in (True, False)),
    judging.memory(PEAK, TRUTH, 98),
    judging.memory({**UNTOLD, "method": "peaks, no driver's count: a container"}, TRUTH, 104),
    judging.foreseen(104, 100),
    judging.peaks({"bf16": 80.0, "bytes": 9.0}, SHEET),
    judging.out_of_memory(["out_of_memory", "ok"], ["skipped"]),
    judging.ended("skipped", "skipped", "more ranks than GPUs"),
    judging.energy(1.0, 500.0, 1.05, 480.0),
    judging.launches(120, 100),
    judging.same_speed(1.0, 1.05),
    judging.graphs(1.0, 0.5, 120, 100),
    judging.fitted(95, 100),
    judging.unchanged(0, {"gpu shared": 0}),
]
WRONG = [
    judging.environment("NVML does not list this process", 500, True),
    judging.environment(600, 500, False),
    judging.environment(400, 500, True),
    judging.wall_clock(1.025, 1.0, PHASES, "device", is_long=True),
    judging.wall_clock(1.0, 1.0, {"forward": 0.44, "backward": 0.6}, "device", is_long=True),
    judging.launches_seen({"my_net": 0, "short": 300}),
    judging.clocks(CAPPED, state(345)),
    judging.clocks(CAPPED, state(1550)),
    judging.clocks(FREE, state(1980, "thermal")),
    judging.clocks(FREE, state(None)),
    judging.clocks(FREE[:3], state(1980)),
    judging.profile(1.1, 1.0, "device"),
    judging.profile(1.0, 1.0, "host"),
    judging.profile(1.0, None, None),
    judging.cost(9.0, 12.0),
    judging.cost(9.0, -1.0),
    judging.every_test(0, 0, []),
    judging.every_test(19, 1, []),
    judging.every_test(19, 0, ["needs a CUDA device"]),
    judging.wall_clock(1.19, 1.0, PHASES, "device"),
    judging.wall_clock(1.0, 1.0, {"forward": 0.8, "backward": 0.6}, "device"),
    judging.wall_clock(1.0, 1.0, PHASES, "host"),
    judging.wall_clock(None, 1.0, PHASES, "device"),
    judging.launch_bound(0.3, 1.0, True),
    judging.launch_bound(0.97, 1.0, False),
    judging.launch_bound(0.8, 1.0, True),
    judging.memory({**PEAK, "peak_allocated_bytes": 110}, TRUTH, 100),
    judging.memory({**PEAK, "device_used_bytes": 110}, TRUTH, 100),
    judging.memory(UNTOLD, TRUTH, 100),
    judging.memory(PEAK, TRUTH, 132),  # the workspaces twice
    judging.memory(PEAK, TRUTH, 20),
    judging.memory(PEAK, TRUTH, None),
    judging.foreseen(68, 100),
    judging.foreseen(132, 100),
    judging.foreseen(None, 100),
    judging.peaks({"bf16": 30.0}, SHEET),
    judging.peaks({"bf16": 200.0}, SHEET),
    judging.peaks({}, SHEET),
    judging.out_of_memory(["failed", "ok"], ["skipped"]),
    judging.out_of_memory(["out_of_memory", "failed"], ["skipped"]),
    judging.out_of_memory(["out_of_memory", "ok"], ["out_of_memory"]),
    judging.ended("failed", "ok", None),
    judging.ended("ok", "skipped", None),
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
    # Just beyond a limit.
    judging.wall_clock(1.04, 1.0, {"forward": 0.44, "backward": 0.6}, "device"),
    judging.wall_clock(1.0, 1.0, {"forward": 0.46, "backward": 0.6}, "device"),
    judging.memory({**PEAK, "peak_allocated_bytes": 102}, TRUTH, 100),
    judging.foreseen(107, 100),
    judging.foreseen(93, 100),
    *(judging.peaks({kind: rate}, {kind: 100.0}) for kind, rate in TOO_LOW.items()),
    judging.peaks({"bf16": 103.0}, SHEET),
    judging.energy(1.1, 500.0, 1.0, 500.0),
    judging.energy(1.0, 560.0, 1.0, 500.0),
    judging.launches(5, 5),
    judging.launches(120, None),
    judging.launches_seen({"my_net": 5}),
    judging.clocks(FREE[:9], state(1980)),
    judging.clocks(FREE, state(1700)),
    judging.clocks(CAPPED[6:] + FREE[:4], state(1980)),
    judging.profile(1.03, 1.0, "device"),
    judging.same_speed(1.0, 1.15),
    judging.graphs(1.0, 1.1, 100, 100),
    judging.graphs(1.0, 0.5, 450, 100),
    judging.fitted(85, 100),
    judging.fitted(104, 100),
]


@pytest.mark.parametrize("wrong", RIGHT)
def test_a_right_answer_passes(wrong: list[str]) -> None:
    assert wrong == []


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_is_found_with_a_reason(wrong: list[str]) -> None:
    assert wrong
    assert all(wrong)


def names(tree: ast.AST) -> set[str]:
    """Return the functions of `judging` that are called."""
    return {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("judging.")
    }  # type: ignore[union-attr]


def test_every_judge_has_right_and_wrong_answers_and_every_question_a_judge() -> None:
    here = Path(__file__).parent
    judges = {name for name, value in vars(judging).items() if inspect.isfunction(value) and name[0] != "_"}
    lists = {
        node.targets[0].id: names(node)
        for node in ast.parse(Path(__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert lists["RIGHT"] == lists["WRONG"] == judges
    questions = ast.parse((here / "test_questions.py").read_text(encoding="utf-8"))
    asked = [node for node in questions.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    assert len(asked) == 19  # the twentieth is `conftest.py`'s
    assert names(questions) | {"every_test", "foreseen"} == judges  # the latter is of `test_live.py`
    without = [node.name for node in asked if not names(node) and "ask_the_wall_clock" not in ast.unparse(node)]
    assert without == []
