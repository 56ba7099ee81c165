"""Clocks are released whatever happens: the holder's input ends, it is told to stop, or it is killed."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pynvml
import pytest

from bench.device import clocks, driver, nvml
from bench.device.clocks import hold, locked_clocks
from tests.fakes.gpu import FakeMachine

SUSTAINED = (pynvml.NVML_CLOCK_LIMIT_ID_TDP,) * 2


@pytest.fixture
def machine(machine: FakeMachine) -> Iterator[FakeMachine]:
    """Two fake GPUs, and the handlers of signals as they were before."""
    handlers = {number: signal.getsignal(number) for number in clocks._ENDS}
    yield machine
    for number, handler in handlers.items():
        signal.signal(number, handler)


class Input(io.StringIO):
    """What the holder reads until it ends; meanwhile something happens."""

    def __init__(self, happens: Any) -> None:
        super().__init__()
        self.happens = happens

    def read(self, *_: Any) -> str:
        self.happens()
        return ""


def test_clocks_are_locked_until_the_input_ends(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(sys, "stdin", Input(lambda: seen.append(dict(machine.locked))))
    assert hold([machine.gpus[1].uuid]) == 0
    assert (seen, machine.locked) == ([{1: SUSTAINED}], {1: None})
    assert json.loads(capsys.readouterr().out) == {}


def test_a_holder_that_is_told_to_end_releases_them(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Input(lambda: signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(SystemExit):
        hold([machine.gpu.uuid])
    assert machine.locked == {0: None}


def test_what_the_driver_refuses_is_said_and_not_released(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.refuses_locks = True
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    hold([machine.gpu.uuid])
    assert "administrator" in json.loads(capsys.readouterr().out)[machine.gpu.uuid]
    assert machine.locked == {}


def test_an_old_driver_is_given_the_clock_of_applications(machine: FakeMachine) -> None:
    machine.is_old = True
    assert nvml.lock_clock(machine.gpu.uuid) is None
    assert machine.locked == {0: (1410, 1410)}


def test_a_holder_that_was_killed_is_stood_in_for(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen
    killed = [sys.executable, "-c", "import os; print('{}', flush=True); input(); os.kill(os.getpid(), 9)"]
    monkeypatch.setattr(clocks.subprocess, "Popen", lambda _, **options: real(killed, **options))
    machine.locked[0] = SUSTAINED
    with locked_clocks([machine.gpu.uuid]) as refused:
        assert refused == {}
        assert machine.locked == {0: SUSTAINED}
    assert machine.locked == {0: None}


HANGS = {
    "it locks": "import time; time.sleep(600)",
    "it releases": "import time; print('{}', flush=True); time.sleep(600)",
}


@pytest.mark.parametrize("when", HANGS)
def test_a_driver_that_hangs_holds_nobody_up(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], when: str
) -> None:
    """A lock that might come later is no lock; the command goes on, and says what is left to do."""
    real, is_over = subprocess.Popen, threading.Event()
    command = [sys.executable, "-c", HANGS[when]]
    monkeypatch.setattr(clocks.subprocess, "Popen", lambda _, **options: real(command, **options))
    monkeypatch.setattr(driver, "DRIVER_SECONDS", 0.2)
    monkeypatch.setattr(clocks, "START_SECONDS", 0.0 if when == "it locks" else 60.0)
    monkeypatch.setattr(nvml, "release_clock", lambda _: is_over.wait())
    with locked_clocks([machine.gpu.uuid]) as refused:
        assert list(refused) == ([machine.gpu.uuid] if when == "it locks" else [])
    is_over.set()
    assert f"the driver did not release the clock of {machine.gpu.uuid} within 0.2 s" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["lock_clock", "release_clock"])
def test_a_holder_whose_driver_hangs_ends_itself(name: str) -> None:
    """Also where nobody waits for it any more."""
    text = (
        f"import sys, time; from bench.device import clocks, driver, nvml; nvml.lock_clock = lambda _: None; "
        f"nvml.{name} = lambda _: time.sleep(600); driver.DRIVER_SECONDS = 0.2; clocks.hold(['one'])"
    )
    done = subprocess.run([sys.executable, "-c", text], input="", text=True, capture_output=True, timeout=60)
    assert done.returncode == 1, done.stderr


def test_the_real_holder_answers_and_ends() -> None:
    """Here without NVML; where there is one, this GPU is not."""
    with locked_clocks(["nobody"]) as refused:
        assert list(refused) == ["nobody"]
        assert refused["nobody"]
    with locked_clocks([]) as refused:
        assert refused == {}
