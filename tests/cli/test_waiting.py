"""Long work says what it does and how long it will take; short work says nothing."""

import io
import re
import resource
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from bench.cli import progress
from bench.cli.progress import make_observer, make_training_observer, waiting, watched, watching, watching_sessions
from bench.core.cell import Cell
from bench.core.progress import tell
from bench.core.training import Progress as TrainingProgress
from bench.core.units import format_clock
from bench.runner.ab.session import AbSession, CellSession
from bench.runner.ab.stages import Progress as AbProgress
from bench.runner.events import CellFinished, CellStarted, RunFinished, RunStarted
from tests.records import BUSY, make_record


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.05)


def wait_for(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    heard, until = "", time.monotonic() + 60
    while words not in heard:
        assert time.monotonic() < until, f"{words!r} was not said: {heard!r}"
        time.sleep(0.02)
        heard += capsys.readouterr().err
    return heard


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
    before = set(threading.enumerate())
    with pytest.raises(ValueError, match="no"), waiting("loading"):
        raise ValueError("no")
    assert set(threading.enumerate()) <= before


def test_what_comes_before_the_first_event_and_after_the_last_cell_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[object] = []
    with watched(heard.append, is_quiet=False) as hear:
        tell("loading torch and the models")
        wait_for("bench: loading torch and the models, ", capsys)
        hear("first")
        capsys.readouterr()
        time.sleep(0.2)
        assert capsys.readouterr().err == "", "the observer shows it from here on"
        hear(RunFinished(folder=Path(), records=(), is_complete=True))
        wait_for("bench: finishing, ", capsys)
    assert heard[0] == "first" and len(heard) == 2


def test_an_event_from_another_thread_ends_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    before = set(threading.enumerate())
    with watched(lambda _: None, is_quiet=False) as hear:
        wait_for("bench: starting, ", capsys)
        other = threading.Thread(target=hear, args=("an epoch",))
        other.start()
        other.join(timeout=10)
        assert not other.is_alive()
    assert set(threading.enumerate()) <= before


def test_cases_say_how_long_the_rest_will_take(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(is_quiet=False) as watch:
        watch(0, 3, "decoder_lm", None)
        wait_for("bench: measuring, 0 of 3, ", capsys)
        watch(0, 3, "decoder_lm", "done")
        assert " left" in wait_for("bench: measuring, 1 of 3, ", capsys)


def test_a_bar_of_unknown_length_shows_no_total_and_no_time_left() -> None:
    bar = progress._bar()
    task = bar.add_task("loading", total=None)
    out = Console(width=80, file=io.StringIO(), record=True)
    out.print(bar.make_tasks_table(bar.tasks))
    bar.update(task, total=4, completed=1)
    out.print(bar.make_tasks_table(bar.tasks))
    unknown, known = out.export_text().splitlines()
    assert "?" not in unknown and "-:--" not in unknown
    assert "0:00:00" in unknown and "loading" in unknown
    assert "1/4" in known


COMMANDS = sorted((Path(progress.__file__).parent).glob("[!_]*.py"))


def test_every_command_that_works_shows_what_it_does() -> None:
    """By reading the code: a command without it is one of those that take no time, or answers line by line."""
    words = {path.stem: set(re.findall(r"\w+", path.read_text())) for path in COMMANDS}
    shown = {name for name, found in words.items() if found & {"waiting", "watched", "watching", "watching_sessions"}}
    assert {path.stem for path in COMMANDS} - shown == {"ci", "images", "options", "output"}


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


def expected_ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **run: object) -> list[str]:
    """Tell a log of six cells that take ten minutes each, two at a time; return what it says of the end."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    records = [make_record(batch_size=size) for size in range(1, 7)]
    observe = make_observer()
    observe(RunStarted(folder=Path("run"), cells=tuple(r.cell for r in records), most=6, **run))  # type: ignore[arg-type]
    for first in (0, 2, 4):
        for index in (first, first + 1):
            observe(CellStarted(cell=records[index].cell, index=index))
        clock.now += 600
        for index in (first, first + 1):
            observe(CellFinished(record=records[index], index=index))
    return [line for line in capsys.readouterr().err.splitlines() if "expected end" in line]


def test_a_run_says_after_its_first_cell_that_the_machine_is_busy(capsys: pytest.CaptureFixture[str]) -> None:
    records = [make_record(batch_size=size, advice=(BUSY,)) for size in (1, 2, 3)]
    observe = make_observer()
    observe(RunStarted(folder=Path("run"), cells=tuple(r.cell for r in records), most=3))
    for index, record in enumerate(records):
        observe(CellFinished(record=record, index=index))
    said = [line for line in capsys.readouterr().err.splitlines() if "other work" in line]
    assert said == ["bench: other work keeps 1.5 cores busy, so times are too long; measure when the machine is quiet"]


def test_the_log_of_a_training_says_how_long_it_will_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    observe = make_training_observer()
    for steps in (2, 7, 10):  # of ten in each of three epochs; one report is no rate yet
        observe(TrainingProgress(epoch=1, steps=steps, total_steps=10, epochs=3, loss=0.5))
        clock.now += 30.0
    assert capsys.readouterr().err.splitlines() == [
        "epoch 1: step 2 of 10, loss 0.5000",
        "epoch 1: step 7 of 10, loss 0.5000; about 2 min 18 s left",
        "epoch 1: step 10 of 10, loss 0.5000; about 2 min 30 s left",
    ]


def test_a_log_says_once_after_three_cells_when_it_expects_to_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    early = datetime.now(UTC) + timedelta(minutes=20)  # three of six have ended in twenty
    (said,) = expected_ends(monkeypatch, capsys)
    late = datetime.now(UTC) + timedelta(minutes=20)
    words = "bench: expected end: about {}, as 3 cells took "
    assert said.startswith((words.format(format_clock(early)), words.format(format_clock(late))))


def session(*ends: tuple[str | None, str | None], **progress: float) -> AbProgress:
    """Make a session of cells that were void or failed, each for a reason or not."""
    cells = tuple(
        CellSession(
            cell=Cell(model=f"net{n}", batch_size=8), void=void, failed="head" if failed else None, reason=failed or ""
        )
        for n, (void, failed) in enumerate(ends)
    )
    ended = AbSession(stage="session", index=0, first="base", cells=cells, seconds=27.0)
    left = {"done": 10, "planned": 14, "undecided": len(ends), "seconds_left": 737.0, "seconds_more": 4363.0}
    return AbProgress(session=ended, **left | progress)  # type: ignore[arg-type]


def test_a_session_is_a_line_of_a_terminal_and_void_cells_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with watching_sessions(is_quiet=False) as listen:
        listen(session(*[("busy cores", None)] * 30, *[("steal", None)] * 5, (None, None)))
        listen(session((None, None), done=3, planned=5, seconds_left=137.0, seconds_more=356.0))
        listen(session((None, None), budget_seconds=3000.0))
        listen(session((None, None), budget_seconds=40.0))
        listen(session((None, None), planned=18, seconds_left=137.0, seconds_more=0.0))
        listen(session((None, "RuntimeError: no"), undecided=0, done=0))
        listen(session((None, None), undecided=0, done=6))
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "bench: [10 of 14 sessions, 36 cells] next look in 12 min, all within 1 h 25 min",
        "bench: 35 cells void (busy cores, steal), not counted",
        "bench: [3 of 5 sessions, 1 cell] next look in 2 min 17 s, all within 8 min 13 s",
        "bench: [10 of 14 sessions, 1 cell] next look in 12 min, all within 50 min",
        "bench: [10 of 14 sessions, 1 cell] the budget ends in 40 s",
        "bench: [10 of 18 sessions, 1 cell] all within 2 min 17 s",
        "bench: net0/train/b8/cpu/fp32 head: RuntimeError: no",
        "bench: [6 sessions] done",
    ]
    assert all(len(line) <= 80 for line in said)


def test_a_run_until_a_time_expects_no_later_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    until = datetime.now(UTC) + timedelta(minutes=5)
    (said,) = expected_ends(monkeypatch, capsys, until=until)
    assert said.startswith(
        f"bench: expected end: about {format_clock(until)} with cells left (--until), as 3 cells took "
    )
    (said,) = expected_ends(monkeypatch, capsys, until=until + timedelta(hours=1))
    assert "--until" not in said
