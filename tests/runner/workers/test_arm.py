"""Inside a worker of `bench ab`, on a fake GPU: what is slowed down on purpose, and which looks at the GPU count."""

from __future__ import annotations

import contextlib
import json
import statistics
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch

from bench import registry
from bench.core.cell import Cell, Mode
from bench.core.jsonio import to_json
from bench.device import prepare
from bench.measure.blocks import time_steps
from bench.measure.clock import clock_for
from bench.runner.ab.arm import ArmError, ArmFullError, LiveArm
from bench.runner.ab.sides import Side
from bench.runner.workers import arm
from tests.fakes.gpu import MIB, FakeMachine, Throttle

CELL = Cell(model="net", batch_size=2, mode=Mode.INFER, device="cuda:0")


@pytest.mark.parametrize(("work", "launching"), [(1e-3, 3e-4), (3e-4, 1e-3), (1e-3, 1e-3)])
def test_a_step_is_slowed_whether_the_device_or_its_launches_bind_it(
    monkeypatch: pytest.MonkeyPatch, work: float, launching: float
) -> None:
    """A device that waits for launches hides a wait of its own: `bench machine selftest` would find nothing."""
    machine = FakeMachine()

    def now() -> int:
        machine.host_now += 1e-7
        return round(machine.host_now * 1e9)

    def step() -> None:
        machine.advance(work, launching)

    monkeypatch.setattr(arm, "time", SimpleNamespace(perf_counter_ns=now))
    with machine.installed():
        slowed = arm.slower(step, 0.05, 0.05 * 1e-3, "cuda:0")
        plain, slow = (
            statistics.median(time_steps(one, clock_for("cuda:0"), 50, lead_in=True)[0])  # type: ignore[arg-type]
            for one in (step, slowed)
        )
    assert slow / plain == pytest.approx(1.05, abs=0.005)


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize(
    ("reason", "lacks"), [("hardware", ()), ("thermal", ("nvmlDeviceGetCurrentClocksThrottleReasons",))]
)
def test_what_slowed_the_warm_up_is_no_state_of_the_visits(
    monkeypatch: pytest.MonkeyPatch, reason: str, lacks: tuple[str, ...], is_slow: bool
) -> None:
    """It is told by glances while the GPU works, or by counters before and after (B3)."""
    machine = FakeMachine(lacks=lacks)
    machine.gpu.throttles = [Throttle(reason, end=float("inf") if is_slow else 1.0)]
    step: Any = mock.Mock(side_effect=lambda: machine.advance(0.01, 1e-3), scaler=None)
    monkeypatch.setattr(registry, "resolve", lambda *_, **__: SimpleNamespace(source_file=None))
    monkeypatch.setattr(prepare, "prepare", lambda *_, **__: contextlib.nullcontext(step))
    worker = arm._Worker()
    with machine.installed():
        worker.build(to_json(CELL), root=".", foreign=None, own_models=False)
        before = worker.read(machine.gpu.uuid)
        for _ in range(5):
            worker.visit(5)
        found = worker.state(before, worker.read(machine.gpu.uuid), machine.gpu.uuid)
        worker.free()
    assert found["gpu_throttle_reasons"] == ([reason] if is_slow else [])


def test_a_model_in_a_cycle_is_gone_before_the_next_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both would lie on the GPU, beside the other side's: a cell that fits would be void for lack of memory."""
    machine, held = FakeMachine(), []

    def prepared(*_: object) -> Any:
        held.append(machine.gpu.allocated)
        step: Any = mock.Mock(side_effect=lambda: machine.advance(0.5, 1e-3), scaler=None)
        step.model = [machine.gpu.hold(MIB), step]  # as a module that knows its parent
        return contextlib.nullcontext(step)

    monkeypatch.setattr(registry, "resolve", lambda *_, **__: SimpleNamespace(source_file=None))
    monkeypatch.setattr(prepare, "prepare", prepared)
    worker = arm._Worker()
    with machine.installed():
        for _ in range(2):
            worker.build(to_json(CELL), root=".", foreign=None, own_models=False)
        worker.free()
    assert held == [0, 0]
    assert machine.gpu.allocated == 0


def test_a_full_gpu_is_told_from_a_model_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both sides lie on it, so neither is broken (B11)."""
    arms = []
    for error in (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("shapes do not fit")):
        worker: Any = SimpleNamespace(build=mock.Mock(side_effect=error))
        answer = json.dumps(arm._answer(worker, {"do": "build"})).encode()
        live = object.__new__(LiveArm)
        live.side = Side(name="head", given=".", folder=tmp_path, root=tmp_path)
        live._answer_seconds = 1.0
        monkeypatch.setattr(live, "_read_line", lambda _, answer=answer: answer)
        with pytest.raises(ArmError) as caught:
            live.finish_build()
        arms.append(caught.value)
    assert [type(one) for one in arms] == [ArmFullError, ArmError]
    assert arms[0].reason == "OutOfMemoryError: CUDA out of memory"
