"""The real `bench run` in a process of its own, stopped from outside while a cell hangs: nothing outlives it."""

import os
import signal
import subprocess
import sys

import pytest

from bench.cli.progress import STOPPING, stoppable, terminated_like_interrupted
from bench.core.record import Outcome
from bench.store.runs import RunFolder, run_paths
from bench.store.stored import read_stored_run
from tests.runner.watching import is_gone, wait_for

MODELS = """
import os, time
from pathlib import Path
from torch import nn

def good():
    return nn.Linear(4, 3)

class Hangs(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        if not list(Path("results").glob("*/records/*.json")):
            return self.layer(x)  # all cells are counted before the first record is written
        forked = os.fork()
        if forked:
            Path("pids.tmp").write_text(f"{os.getpid()} {forked} {os.getppid()}")
            Path("pids.tmp").rename("pids")
        time.sleep(3600)
"""


def start(folder):
    """Start a run whose second cell hangs, and wait until it does; return the run and all its processes."""
    (folder / "models.py").write_text(MODELS)
    command = ["-m", "bench", "run", "models.py:good", "models.py:Hangs", "-b", "2", "--input-shape", "4"]
    run = subprocess.Popen(
        [sys.executable, *command, "--budget", "0.01s", "--threads", "1"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids = wait_for(lambda: _text(folder / "pids") or (run.poll() is not None and "ended"))
    assert pids != "ended", run.communicate()
    return run, [int(pid) for pid in pids.split()]


def _text(path):
    return path.read_text() if path.exists() else ""


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("number", "is_to_group", "code", "words"),
    [
        (signal.SIGINT, True, 130, "interrupted; what was measured before is on disk"),
        pytest.param(signal.SIGTERM, False, 143, "stopped by SIGTERM; what was measured before is on disk", marks=SLOW),
        pytest.param(signal.SIGKILL, False, -signal.SIGKILL, None, marks=SLOW),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGKILL"],
)
def test_a_run_that_is_stopped_keeps_its_records_and_leaves_no_process(tmp_path, number, is_to_group, code, words):
    run, pids = start(tmp_path)
    (os.killpg if is_to_group else os.kill)(run.pid, number)
    _, err = run.communicate(timeout=120)
    assert run.returncode == code
    for pid in pids:
        wait_for(lambda pid=pid: is_gone(pid))
    (path,) = run_paths(tmp_path / "results")
    folder = RunFolder.open(path)
    assert [record.outcome for record in folder.records()] == [Outcome.OK]
    assert [cell.model for cell in read_stored_run(folder).missing] == ["models.py:Hangs"]
    assert not list(path.rglob("*.tmp"))
    if words is not None:
        assert words in err
        assert "Traceback" not in err
        assert (folder.tables_path / "cells.csv").exists()


def test_handlers_are_put_back():
    before = [signal.getsignal(each) for each in STOPPING]
    with stoppable():
        assert [signal.getsignal(each) for each in STOPPING] != before
    assert [signal.getsignal(each) for each in STOPPING] == before


def test_the_first_signal_leaves_in_order_and_the_second_at_once(capsys):
    with pytest.raises(SystemExit) as stopped, stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert stopped.value.code == 143
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("handling", [stoppable, terminated_like_interrupted])
def test_nohup_stays_nohup(handling):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handling():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
