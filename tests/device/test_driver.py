"""A driver that hangs holds nobody up who asks it in the parent of all processes, where no time limit ends him."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from typing import Any
from unittest import mock

import pynvml
import pytest

from bench.core.cell import Cell, Mode
from bench.device import driver
from bench.device.backend import backend_of
from bench.runner.counting import workspaces_of
from tests.fakes.gpu import FakeMachine, uuid_of

MULTIPLYING = Cell(model="mlp", batch_size=1, device="cuda:0", mode=Mode.INFER)
QUESTIONS: dict[str, tuple[Callable[[str], Any], Any]] = {
    "workspaces": (lambda uuid: workspaces_of(MULTIPLYING, uuid), 32 * 2**20),  # the most, as where nobody tells
    "meter": (lambda uuid: backend_of("cuda:0").find_meter(uuid), "the driver gave no answer within 0.2 s"),
    "cpus": (lambda uuid: backend_of("cuda:0").cpus_near(uuid), frozenset()),
}


@pytest.fixture
def hangs(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Whoever starts NVML waits until the event is set."""
    machine.gpu.capability = (8, 0)
    is_over, start = threading.Event(), pynvml.nvmlInit
    monkeypatch.setattr(driver, "DRIVER_SECONDS", 0.2)
    with mock.patch.object(pynvml, "nvmlInit", lambda: (is_over.wait(), start())[1]):
        yield is_over
        is_over.set()
        wait(driver._late)


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_a_driver_does_not_answer_in_time_is_unknown(
    machine: FakeMachine, hangs: threading.Event, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    ask, unknown = QUESTIONS[name]
    assert ask(uuid_of(machine)) == unknown
    assert capsys.readouterr().err == "the driver gave no answer within 0.2 s; what it would have told is unknown\n"


def test_a_driver_that_hangs_is_waited_for_once_until_it_has_answered(
    machine: FakeMachine, hangs: threading.Event, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every cell of a run would wait."""
    for ask, unknown in QUESTIONS.values():
        assert ask(uuid_of(machine)) == unknown
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert sum(not one.done() for one in driver._late) == 1
    hangs.set()
    wait(driver._late)
    monkeypatch.setattr(driver, "DRIVER_SECONDS", 60.0)  # the answer comes at once, but perhaps on a busy machine
    for ask, unknown in QUESTIONS.values():
        assert ask(uuid_of(machine)) != unknown


def test_an_error_in_the_thread_that_asks_is_the_askers() -> None:
    def fail() -> None:
        raise ValueError("of this kind")

    with pytest.raises(ValueError, match="of this kind"):
        driver.in_time(fail, otherwise=None)
