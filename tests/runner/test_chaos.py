"""200 cells, most endings there are; processes are killed, nothing can be written: nothing lost, torn or left.

An undisturbed run beside it says what the tables must hold.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from bench.core.record import Outcome, Phase
from bench.store.runs import RunFolder, run_paths
from tests.runner import chaos
from tests.runner.watching import ROOT, is_gone, wait_for

KILLS = 25
TOKEN = "STEPBENCH_CHAOS"
STOP_THEN_KILL = 0
HOW = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, STOP_THEN_KILL)
VICTIMS = ("parent", "server", "worker")
MEASURED = ["started_at", "duration_seconds"]  # the rest is drawn from the cell's seed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    results = tmp_path_factory.mktemp("undisturbed")
    yield results, _start(results)
    _kill_all(results)


@pytest.fixture(autouse=True)
def _no_process_outlives_a_failure(tmp_path):
    yield
    _kill_all(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_run_killed_25_times_ends_like_an_undisturbed_one(undisturbed, tmp_path):
    draw = random.Random(20261129)
    blows = [*itertools.product(VICTIMS, HOW)]  # each once, and some by lot
    blows += [draw.choice(blows) for _ in range(KILLS - len(blows))]
    draw.shuffle(blows)
    parent = _start(tmp_path)
    for stop, (victim, how) in zip(sorted(draw.sample(range(1, len(chaos.CELLS) - 10), KILLS)), blows, strict=True):
        wait_for(lambda stop=stop: len(_record_files(tmp_path)) >= stop, seconds=600)
        time.sleep(draw.uniform(0, 0.05))  # anywhere within a cell
        assert parent.poll() is None
        _strike(parent.pid, victim, how, draw)
        if victim == "parent":
            assert parent.wait(timeout=60) in (-how, 128 + how, -signal.SIGKILL)
            _assert_all_gone(tmp_path)
            parent = _start(tmp_path)
    assert parent.wait(timeout=600) == 0
    _assert_all_gone(tmp_path)
    (path,) = run_paths(tmp_path)
    kept = {  # what ended well is not measured again, whatever happened to others
        file: file.stat().st_mtime_ns
        for record in RunFolder.open(path).records()
        if record.counters.parameters is not None
        and (record.outcome is Outcome.SKIPPED or (record.outcome is Outcome.OK and record.counters.memory))
        for file in [path / "records" / f"{record.cell.key}.json"]
    }
    assert _start(tmp_path, "--again").wait(timeout=600) == 0
    _assert_all_gone(tmp_path)
    assert all(file.stat().st_mtime_ns == when for file, when in kept.items())
    _assert_as_undisturbed(tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_runs_of_one_second_survive_what_cannot_be_written(undisturbed, tmp_path):
    draw = random.Random(17)
    stop = draw.randint(10, 30)
    both = [_start(tmp_path, "--new", "--fault", "disk", "--after", stop, stderr=subprocess.PIPE) for _ in range(2)]
    for one in both:
        _assert_ends_in_one_line(one, "cannot write")
    _assert_all_gone(tmp_path)
    paths = run_paths(tmp_path)
    assert len(paths) == 2 and paths[0].name[:15] == paths[1].name[:15]
    for path in paths:
        assert len(RunFolder.open(path).records()) == stop  # whole, all of them
        assert not [*path.glob("**/*.tmp")]
    shutil.rmtree(paths[1])
    folder = RunFolder.open(paths[0])
    for fault, words in (("rights", "permission denied"), ("file", "a file of that name is in the way")):
        further = draw.randint(5, 30)
        one = _start(tmp_path, "--fault", fault, "--after", further, stderr=subprocess.PIPE)
        _assert_ends_in_one_line(one, words)
        _assert_all_gone(tmp_path)
        chaos.mend_folder(folder.records_path)
        stop += further
        assert len(folder.records()) == stop
    assert _start(tmp_path).wait(timeout=600) == 0
    _assert_as_undisturbed(tmp_path, undisturbed)


def _assert_ends_in_one_line(process, words):
    _, error = process.communicate(timeout=600)
    lines = [line for line in error.decode().splitlines() if line.startswith("bench: ")]
    assert process.returncode == 1 and len(lines) == 1 and words in lines[0], error.decode()


def _strike(parent, victim, how, draw):
    """Send a signal to one of the processes; a worker lives for milliseconds, so it may be gone before."""
    pid = parent if victim == "parent" else wait_for(lambda: _find(parent, victim), pause=0.001)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how or signal.SIGSTOP)
        if how == STOP_THEN_KILL:
            time.sleep(draw.uniform(0, 0.2))
            os.kill(pid, signal.SIGKILL)


def _find(parent, victim):
    """Find the server that the parent has started, or a process that the server has forked; None if there is none."""
    servers = [pid for pid in _children(parent) if b"forkserver" in _cmdline(pid)]
    if victim == "server":
        return servers[0] if servers else None
    return next((child for server in servers for child in _children(server)), None)


def _children(pid):
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _cmdline(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _kill_all(results):
    for pid in _processes_of(results):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _assert_all_gone(results):
    wait_for(lambda: not _processes_of(results))


def _assert_as_undisturbed(results, undisturbed):
    """One record per cell, none torn, no temporary, and tables as of a run that nobody disturbed."""
    (path,) = run_paths(results)
    folder = RunFolder.open(path)
    records = folder.records()
    assert Counter(record.cell for record in records) == Counter(chaos.CELLS)
    assert {record.cell.seed: record.outcome for record in records} == {
        cell.seed: chaos.expected(cell) for cell in chaos.CELLS
    }
    for record in records:
        is_ok = record.outcome is Outcome.OK
        assert record.sample_seconds(Phase.STEP) == (chaos.seconds_of(record.cell) if is_ok else ())
        assert record.counters.parameters == record.cell.seed
        assert (record.reason is None) == is_ok
    assert set(Outcome) == {record.outcome for record in records}
    assert {entry.name for entry in path.iterdir()} == {"run.json", "records", "tables"}
    assert {entry.name for entry in folder.records_path.iterdir()} == {f"{cell.key}.json" for cell in chaos.CELLS}
    other, process = undisturbed
    assert process.wait(timeout=600) == 0
    (expected,) = run_paths(other)
    tables = sorted((expected / "tables").glob("*.parquet"))
    assert tables
    for table in tables:
        frames = [pd.read_parquet(each / "tables" / table.name) for each in (path, expected)]
        found, wanted = (frame.drop(columns=MEASURED, errors="ignore") for frame in frames)
        pd.testing.assert_frame_equal(found, wanted)


def _start(results, *options, **settings):
    environment = {**os.environ, TOKEN: str(results)}  # inherited by whatever the parent starts
    command = [sys.executable, "-m", "tests.runner.chaos", results, *map(str, options)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, preexec_fn=_hear_hangups, **settings)


def _hear_hangups():
    """Take SIGHUP as in a terminal: where the tests were started by nohup, a run would go on, as it should."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _record_files(results):
    return list(results.glob("*/records/*.json"))


def _processes_of(results):
    """List the processes that were started, directly or not, for these results."""
    mark, found = f"{TOKEN}={results}".encode(), set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and not is_gone(int(entry.name)):
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
    return found
