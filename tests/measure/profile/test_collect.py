"""What is collected around a profile, on a fake GPU and without torch's profiler."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bench.core.record import Phase
from bench.measure.profile import collect
from tests.fakes.gpu import FakeMachine, FakeScaler
from tests.fakes.step import ScriptedStep
from tests.measure.profile.small import cell


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
    assert max(found.plain_host_seconds) > 0.9e-3
    assert found.launch_seconds == pytest.approx(0.3e-3, rel=0.01)
    assert scaled.launch_seconds is None
