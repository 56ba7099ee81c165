"""`bench bisect` as a user runs it, on a repository of 40 commits with a real slowdown: two more of its own layers."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.runner.git_repository import IDENTITY, make_repository, run_git, worktrees_of

COMMITS = 40
NET = """\
from torch import nn

NOTE = {note}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(96, 96) for _ in range({depth})), {last})

    def forward(self, x):
        return self.layers(x)
"""
BROKEN = "raise ImportError('half a commit')\n"


def make_history(folder: Path, *, slow: int, fast: int, broken: int) -> Path:
    """Make commits 1 to 40: 25 layers, at `slow` two more, at `fast` no activation; `broken` does not import."""
    make_repository(folder, {".gitignore": "results\n__pycache__\n"})
    stream = []
    for number in range(1, COMMITS + 1):
        depth, last = 25 + 2 * (number >= slow), "nn.ReLU()" if number < fast else "nn.Identity()"
        text = BROKEN if number == broken else NET.format(note=number, depth=depth, last=last)
        words = f"change {number}"
        stream.append(
            f"commit refs/heads/main\ncommitter tester <tester@example.invalid> {number} +0000\n"
            f"data {len(words)}\n{words}\n{f'from refs/heads/main^0{chr(10)}' if number == 1 else ''}"
            f"M 100644 inline net.py\ndata {len(text)}\n{text}\n"
        )
    command = ["git", "-C", str(folder), *IDENTITY, "fast-import", "--quiet"]
    subprocess.run(command, input="".join(stream).encode(), check=True)
    run_git(folder, "reset", "--quiet", "--hard", "main")
    return folder


def bisect(folder: Path, *arguments: str) -> tuple[int, dict, str]:
    command = (sys.executable, "-m", "bench", "bisect", *arguments, "--format", "json")
    (folder.parent / "temporary").mkdir(exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder.parent / "temporary")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1500)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


ASKED = (f"HEAD~{COMMITS - 1}", "HEAD", "net.py:Net", "--input-shape", "96", "--no-void")


@pytest.mark.alone
@pytest.mark.timeout(600)
def test_two_more_layers_are_found_past_a_broken_and_a_faster_commit(tmp_path: Path) -> None:
    folder = make_history(tmp_path / "project", slow=23, fast=9, broken=31)
    started = time.monotonic()
    code, answer, errors = bisect(folder, *ASKED, "--seed", "11")
    bisected = answer["bisected"]
    print(f"{time.monotonic() - started:.0f} s, {bisected['sessions']} sessions, exit code {code}")
    assert (code, bisected["verdict"]) in ((1, "found"), (3, "undecided")), errors
    for step in bisected["steps"]:
        assert [commit["subject"] for commit in step["commits"]] == ["change 23"]
        assert 0.03 < step["comparison"]["shift"] < 0.14
    assert bisected["steps"] or "change 23" in {c["subject"] for one in bisected["likely"] for c in one["commits"]}
    assert worktrees_of(folder) == [str(folder)]
    assert list((tmp_path / "temporary").glob("stepbench*")) == []
    assert "most likely" in errors

    measured_again = bisect(folder, "--resume", answer["folder"])
    assert measured_again[1]["bisected"]["steps"] == bisected["steps"], "all is known: nothing is measured"
    assert measured_again[1]["bisected"]["sessions"] == bisected["sessions"]


@pytest.mark.thorough
@pytest.mark.timeout(10_800)
def test_ten_histories_are_searched_right_nine_times_and_never_wrong(tmp_path: Path) -> None:
    rng = random.Random(23)
    found = []
    for number in range(10):
        slow, fast, broken = rng.sample(range(3, COMMITS), 3)
        folder = make_history(tmp_path / f"project-{number}", slow=slow, fast=fast, broken=broken)
        started = time.monotonic()
        _, answer, _ = bisect(folder, *ASKED, "--seed", str(number))
        steps = [[commit["subject"] for commit in step["commits"]] for step in answer["bisected"]["steps"]]
        found.append((f"change {slow}", steps, answer["bisected"]["verdict"]))
        sessions = answer["bisected"]["sessions"]
        print(
            f"slow {slow}, fast {fast}, broken {broken}: {steps} {sessions} sessions {time.monotonic() - started:.0f} s"
        )
    assert all(subject in named for subject, steps, _ in found for named in steps), found
    assert sum(bool(steps) for _, steps, _ in found) >= 9, found
