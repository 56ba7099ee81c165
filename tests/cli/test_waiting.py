"""Long work says what it does and how long it will take; short work says nothing."""

import resource
import subprocess
import sys
import threading
import time

import pytest

from bench.cli import progress
from bench.cli.progress import waiting
from bench.core.progress import tell


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.05)


def wait_for(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    heard = ""
    for _ in range(200):
        time.sleep(0.02)
        heard += capsys.readouterr().err
        if words in heard:
            return heard
    raise AssertionError(f"{words!r} was not said: {heard!r}")


def test_what_takes_long_is_said_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("loading"):
        wait_for("bench: loading, ", capsys)
        tell("counting", 0, 4)
        wait_for("bench: counting, 0 of 4, ", capsys)
        tell("counting", 1, 4)
        assert " left" in wait_for("bench: counting, 1 of 4, ", capsys)


def test_what_is_quick_or_quiet_says_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with waiting("loading", is_quiet=True):
        time.sleep(0.2)
    monkeypatch.setattr(progress, "_PATIENCE_SECONDS", 60.0)
    with waiting("loading"):
        tell("counting", 1, 2)
    assert capsys.readouterr().err == ""


def test_no_thread_is_left_behind_after_an_error() -> None:
    before = threading.active_count()
    with pytest.raises(ValueError, match="no"), waiting("loading"):
        raise ValueError("no")
    assert threading.active_count() == before


def cpu_seconds(*command: str) -> float:
    """Return the CPU seconds of a command and its children: a busy machine does not change them much."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True, capture_output=True, timeout=100)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
def test_the_machine_is_described_in_about_the_time_that_torch_takes_to_import() -> None:
    torch = min(cpu_seconds("-c", "import torch") for _ in range(2))
    machine = min(cpu_seconds("-m", "bench", "machine") for _ in range(2))
    assert machine < 1.75 * torch


def test_the_machine_is_named_before_torch_is_imported() -> None:
    started = time.monotonic()
    with subprocess.Popen([sys.executable, "-m", "bench", "machine"], stdout=subprocess.PIPE, text=True) as said:
        assert said.stdout is not None
        assert said.stdout.readline().startswith("Machine ")
        first = time.monotonic() - started
        assert "Fingerprint" in said.stdout.read()
    assert first < 0.6 * (time.monotonic() - started)
