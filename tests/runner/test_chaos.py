"""200 cells, most endings there are, the parent killed ten times: nothing lost, nothing twice, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from bench.core.record import Outcome, Phase
from bench.store.runs import RunFolder, run_paths
from tests.runner import chaos
from tests.runner.watching import ROOT, is_gone, wait_for

KILLS = 10
TOKEN = "STEPBENCH_CHAOS"


@pytest.mark.slow
def test_a_run_that_is_killed_ten_times_ends_with_one_true_record_per_cell(tmp_path):
    draw = random.Random(20261123)
    written: dict[Path, int] = {}  # when each record was first seen to be written
    for stop in sorted(draw.sample(range(1, len(chaos.CELLS) - 1), KILLS)):
        parent = _start(tmp_path)
        wait_for(lambda stop=stop: len(_record_files(tmp_path)) >= stop)
        moment = time.monotonic() + draw.uniform(0, 0.05)
        wait_for(lambda moment=moment: time.monotonic() >= moment, pause=0.001)  # anywhere within a cell
        assert parent.poll() is None
        parent.kill()
        parent.wait()
        wait_for(lambda: not _processes_of(tmp_path))
        written = {path: path.stat().st_mtime_ns for path in _record_files(tmp_path)} | written
    parent = _start(tmp_path)
    assert parent.wait(timeout=300) == 0
    wait_for(lambda: not _processes_of(tmp_path))
    assert all(path.stat().st_mtime_ns == when for path, when in written.items())  # none was measured again

    (path,) = run_paths(tmp_path)
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
    assert {entry.name for entry in path.iterdir()} == {"run.json", "records"}
    assert {entry.name for entry in folder.records_path.iterdir()} == {f"{cell.key}.json" for cell in chaos.CELLS}


def _start(results):
    environment = {**os.environ, TOKEN: str(results)}  # inherited by whatever the parent starts
    return subprocess.Popen([sys.executable, "-m", "tests.runner.chaos", results], cwd=ROOT, env=environment)


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
