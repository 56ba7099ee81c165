"""What is collected around a profile, on a fake GPU and without torch's profiler."""

from __future__ import annotations

import contextlib
from collections import Counter
from types import SimpleNamespace

import pytest

from bench.core.profile import ProfileOptions
from bench.core.record import Phase
from bench.measure.profile import collect, profile
from bench.measure.window import Window
from tests.fakes.gpu import FakeMachine, FakeScaler, Throttle
from tests.fakes.step import ScriptedStep
from tests.measure.profile.small import Branching, cell, workload
from tests.measure.test_timing import EagerStep


@pytest.fixture(autouse=True)
def _no_profiler(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, answer in {"record_steps": None, "Attribution": SimpleNamespace()}.items():
        monkeypatch.setattr(collect, name, lambda *_, answer=answer: answer)
    for name in ("host_times", "device_times"):
        monkeypatch.setattr(collect, name, lambda *_: [])


def test_launching_is_timed_into_an_empty_queue_for_the_profile_too() -> None:
    """Into a full one the host waits for room, and a step bound by the device looks bound by its launches (B2)."""
    machine = FakeMachine(launch_seconds=0.3e-3)
    with machine.installed():
        step = ScriptedStep(machine.advance, {Phase.FORWARD: 1e-3})
        found = collect.collect(step, cell(device="cuda:0"))  # type: ignore[arg-type]
        step.scaler = FakeScaler(0)  # type: ignore[assignment]
        scaled = collect.collect(step, cell(device="cuda:0"))  # type: ignore[arg-type]
        read = ScriptedStep(lambda seconds: (machine.advance(seconds), machine.item()), {Phase.FORWARD: 1e-3})
        waits = collect.collect(read, cell(device="cuda:0"))  # type: ignore[arg-type]
    assert max(found.plain_host_seconds) > 0.9e-3
    assert found.launch_seconds == pytest.approx(0.3e-3, rel=0.01)
    assert scaled.launch_seconds is waits.launch_seconds is None


def test_the_machine_is_watched_while_steps_are_taken_and_not_before() -> None:
    machine = FakeMachine()
    machine.gpu.throttles = [Throttle("thermal", end=0.5)]  # in the warm-up only
    with machine.installed():
        window = Window("cuda:0", machine.gpu.uuid)
        step = ScriptedStep(machine.advance, {Phase.FORWARD: 1e-3})
        collect.collect(step, cell(device="cuda:0"), window=window)  # type: ignore[arg-type]
        state = window.state()
    assert (state.gpu_clock_mhz, state.gpu_throttle_reasons) == (1980, ())


def test_a_plain_step_is_timed_with_a_full_queue_for_the_profile_too() -> None:
    """Its forward pass takes longer to launch than to run (A2)."""
    machine = FakeMachine()
    with machine.installed():
        found = collect.collect(EagerStep(machine, 1.0), cell(device="cuda:0"))  # type: ignore[arg-type]
    assert found.plain_seconds == pytest.approx([38.1e-3] * len(found.plain_seconds), rel=0.02)
    # Where the profiler sees no kernel, rows are times of the host, and so are the phases.
    assert found.plain_phases[Phase.FORWARD] == pytest.approx(15e-3, rel=0.02)


@pytest.mark.parametrize(("kernels", "is_told"), [(9_000, True), (11_000, False)])
def test_of_a_step_that_fills_the_queue_nobody_tells_what_launching_takes(
    monkeypatch: pytest.MonkeyPatch, kernels: int, is_told: bool
) -> None:
    """Launching it waits for room, however slowly the device works (B2)."""
    steps = [SimpleNamespace(operator_calls=Counter({"aten::mm": kernels}))]
    monkeypatch.setattr(collect, "device_times", lambda *_: steps)
    machine = FakeMachine(launch_seconds=0.3e-3)
    with machine.installed():
        step = ScriptedStep(machine.advance, {Phase.FORWARD: 1e-3})
        found = collect.collect(step, cell(device="cuda:0"))  # type: ignore[arg-type]
    assert (found.launch_seconds is not None) is is_told


def test_a_profile_begins_after_a_step_has_updated_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """In fp16-amp the first updates are skipped: without them there is no optimizer, nor its state (A4)."""
    seen: list[int] = []

    class Scaled:
        is_training, optimizer, networks, scaler = False, None, {}, FakeScaler(10)

        def __call__(self) -> None:
            self.scaler.skips()

    monkeypatch.setattr(profile, "prepare", lambda *_: contextlib.nullcontext(Scaled()))
    monkeypatch.setattr(profile, "collect", lambda step, *_, **__: seen.append(step.scaler.overflows))
    profile._run_passes(workload(Branching), cell(), ProfileOptions(), [], None)
    assert seen == [0]
