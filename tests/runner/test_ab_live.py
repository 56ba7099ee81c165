"""`bench ab` as a user runs it, on a repository of two commits: one real run, and one that is interrupted."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runner.git_repository import make_repository, run_git, worktrees_of

NET = """\
import os, signal, torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear({width}, {width})

    def forward(self, x):
        return self.layer(x)

class Fatal(Net):
    calls = 0

    def forward(self, x):
        if type(x) is torch.Tensor and x.device.type == "cpu":
            Fatal.calls += 1
            if Fatal.calls > 8 and {is_fatal}:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)
"""
BROKEN = "raise RuntimeError('half a commit')\n"
WHOLE = "from net import Net\n"
COMMAND = (sys.executable, "-m", "bench", "ab")


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "temporary").mkdir()
    folder = make_repository(
        tmp_path / "project",
        {"net.py": NET.format(width=8, is_fatal=False), "broken.py": BROKEN, ".gitignore": "results\n__pycache__\n"},
        {"net.py": NET.format(width=8, is_fatal=True) + "# a comment\n", "broken.py": WHOLE},
    )
    (folder / "net.py").write_text("not even Python: edited while nobody looked\n")
    yield folder
    assert list((tmp_path / "temporary").glob("stepbench*")) == [], "a temporary folder was left"
    assert worktrees_of(folder) == [str(folder)]
    assert run_git(folder, "status", "--porcelain").split() == ["M", "net.py"]
    assert workers_in(tmp_path) == []


def environment(repository: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(repository.parent / "temporary"), "OMP_NUM_THREADS": "1"}


def workers_in(folder: Path) -> list[str]:
    """List live processes that work below a folder: the workers of its runs."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            place, line = (process / "cwd").readlink(), (process / "cmdline").read_bytes()
        except OSError:
            continue
        if place.is_relative_to(folder) and b"workers.arm" in line:
            found.append(process.name)
    return found


@pytest.mark.slow
def test_revisions_are_compared_though_some_models_break(repository: Path) -> None:
    arguments = ["HEAD~1", "HEAD", "net.py:Net", "net.py:Fatal", "broken.py:Net", "--input-shape", "8"]
    options = [
        "--fail-at",
        "500%",
        "--tolerate",
        "500%",
        "--quads",
        "2",
        "--no-void",
        "--seed",
        "5",
        "--format",
        "json",
    ]
    done = subprocess.run(
        [*COMMAND, *arguments, *options, "--markdown", "comment.md"],
        cwd=repository,
        env=environment(repository),
        capture_output=True,
        text=True,
        timeout=600,
    )
    (repository / "comment.md").rename(repository / "results" / "comment.md")
    assert done.returncode == 4, done.stderr
    answer = json.loads(done.stdout)
    rows = {row["cell_id"].partition("/")[0]: row for row in answer["comparisons"]}

    net = rows["net.py:Net"]
    assert net["verdict"] == "same"
    assert net["look"] == 1
    assert len(net["session_shifts"]) == len(net["mean_shifts"]) == 5
    assert net["base"]["point"] > 0
    assert net["head"]["point"] > 0

    broken, fatal = rows["broken.py:Net"], rows["net.py:Fatal"]
    assert broken["verdict"] == fatal["verdict"] == "incomparable"
    assert dict(broken["facts"])["side"] == "base"
    assert "half a commit" in dict(broken["facts"])["error"]
    assert dict(fatal["facts"])["side"] == "head"
    assert "killed by SIGKILL" in dict(fatal["facts"])["error"]
    assert fatal["voided"] == [["head died", 2]]

    folder = repository / answer["folder"]
    stored = json.loads((folder / "comparison.json").read_text())
    assert stored["comparisons"] == answer["comparisons"]
    assert stored["settings"]["seed"] == 5
    dirty = "1 file has uncommitted changes, which HEAD does not include; write . to include them"
    assert stored["notes"] == [dirty]
    assert dirty in done.stderr
    assert stored["base"]["commit"] == run_git(repository, "rev-parse", "HEAD~1")
    session = json.loads(gzip.decompress((folder / "sessions" / "session-00.json.gz").read_bytes()))
    raw = next(one for one in session["cells"] if one["cell"]["model"] == "net.py:Net")
    assert len(raw["quads"]) == 2
    assert all(ns > 0 for quad in raw["quads"] for visit in quad["base_ns"] + quad["head_ns"] for ns in visit)
    comment = (repository / "results" / "comment.md").read_text()
    assert comment.startswith("### No regression shown, not all judged")
    assert "half a commit" in comment


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process_and_no_worktree(repository: Path, number: signal.Signals) -> None:
    command = [*COMMAND, "HEAD~1", "HEAD", "broken.py:Net", "--input-shape", "8"]
    with subprocess.Popen(
        command, cwd=repository, env=environment(repository), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        while not workers_in(repository.parent):
            assert process.poll() is None, process.communicate()
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("bench: interrupted")


def test_a_base_that_is_missing_is_exit_code_5_before_anything_starts(repository: Path) -> None:
    command = [*COMMAND, "origin/main", "HEAD", "net.py:Net"]
    done = subprocess.run(command, cwd=repository, env=environment(repository), capture_output=True, text=True)
    assert done.returncode == 5
    assert done.stderr.startswith("bench: base 'origin/main' is no commit")


NETS = """\
from torch import nn

def net(width=16):
    return nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))
"""


@pytest.mark.slow
def test_two_models_of_a_folder_are_compared_and_the_budget_bounds_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETS)
    models = ["--model-a", "nets.py:net", "--model-b", "nets.py:net@width=1024", "--input-shape", "16"]
    options = ["--quads", "2", "--no-void", "--seed", "5", "--fail-if", "slower", "--format", "json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def compare(*more: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, *models, *options, *more]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

    done = compare()
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    (row,) = answer["comparisons"]
    assert (row["verdict"], row["shown_by"]) == ("slower", "every-step")
    assert 0.7 < row["low"] < row["shift"] < row["high"], "a million multiplications beside a thousand"
    stored = json.loads((tmp_path / answer["folder"] / "comparison.json").read_text())
    assert stored["comparisons"] == answer["comparisons"]

    done = compare("--budget", "0.1s")
    assert done.returncode == 5, done.stderr
    assert "the budget ended before" in json.loads(done.stdout)["error"]
    assert list((tmp_path / "results").iterdir()) == [tmp_path / answer["folder"]], "nothing was begun"
