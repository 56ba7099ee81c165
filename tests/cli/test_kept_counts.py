"""The second count of the same code counts nothing; editing a helper two imports away counts again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bench
from bench.core.cell import Cell
from bench.runner.counting import count_all
from bench.store.kept import KeptCounts

NET = """
from outer import make_layer
def make():
    return make_layer()
"""
OUTER = """
from inner import WIDTH
from torch import nn
def make_layer():
    return nn.Linear(4, WIDTH)
"""


def write(folder, width):
    for name, text in (("net.py", NET), ("outer.py", OUTER), ("inner.py", f"WIDTH = {width}\n")):
        (folder / name).write_text(text)
        os.utime(
            folder / name, (1, 1)
        )  # what was kept is known by content: a checkout that restores times changes nothing


def count(folder, *options):
    command = [sys.executable, "-m", "bench", "count", "net.py:make", "--input-shape", "4", "-b", "2", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.slow
def test_a_second_count_is_kept_until_an_import_changes(tmp_path):
    write(tmp_path, 3)
    first, said = count(tmp_path, "--flops-only")
    assert "--recount" not in said
    second, said = count(tmp_path, "--flops-only")
    assert second == first
    assert "nothing was counted" in said
    assert "--recount" in said
    _, said = count(tmp_path, "--flops-only", "--recount")
    assert "nothing was counted" not in said
    write(tmp_path, 15)  # another size: Python takes a .pyc of equal time and size for the file's own
    third, said = count(tmp_path, "--flops-only")
    assert "nothing was counted" not in said
    assert third != first


def test_only_count_and_run_read_what_was_kept():
    root = Path(bench.__file__).parent
    users = {file.relative_to(root).as_posix() for file in root.rglob("*.py") if "KeptCounts(" in file.read_text()}
    assert users == {"cli/count.py", "cli/run.py"}  # no verdict: not gate, not check, not ci


def test_counting_for_a_verdict_looks_nothing_up(monkeypatch):
    monkeypatch.setattr(KeptCounts, "find", lambda *_, **__: pytest.fail("a verdict read kept counts"))
    ((_, counted),) = count_all([Cell(model="mlp", batch_size=2)], method="inline", opinions=False, steps=False)
    assert counted.counters.parameters
