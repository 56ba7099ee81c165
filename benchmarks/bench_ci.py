"""The action of `docs/ci.md`, rehearsed whole: every step in order on a small repository, the comparison too.

    pytest --benchmark-only -m thorough benchmarks/bench_ci.py

No change must be green; a busy-wait of 10 % in the model's forward, one more layer, and a wrong claim must each be red,
with the comment and the annotation that say why. `tests/cli/test_ci.py` rehearses the same with a comparison made by
hand, in seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakes.actions import Rehearsed, rehearse

ACTION = Path(__file__).parents[1] / ".github" / "actions" / "stepbench" / "action.yml"
COMPARISON = "suite.toml --sessions 8 --quads 4 --no-void --threads 1"
"""Less than `bench ab` does by default, because 10 % is easy to see; nothing is void, or a busy machine never ends."""

NET = """\
import time

import torch
from torch import nn

WAIT = 0.0


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(256, 256) for _ in range(8))

    def forward(self, x):
        started = time.perf_counter_ns()
        for layer in self.layers:
            x = torch.relu(layer(x))
        end = started + (time.perf_counter_ns() - started) * (1 + WAIT)
        while time.perf_counter_ns() < end:
            pass
        return x


def net():
    return Net()
"""
SUITE = '[[sweep]]\nmodel = "net.py:net"\ninput_shape = "256"\nbatch_size = 64\nmode = "infer"\n'
CLAIMS = """\
[document]
title = "a slide"
model = "net.py:net"

[[claim]]
id = "all"
quantity = "parameters"
input_shape = [256]
value = 526336
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a repository with counters on record."""
    folder = tmp_path_factory.mktemp("ci") / "mine"
    folder.mkdir()
    files = {"net.py": NET, "suite.toml": SUITE, "claims.toml": CLAIMS, ".gitignore": "__pycache__\nresults/2*\n"}
    for name, text in files.items():
        (folder / name).write_text(text)
    _git(folder, "init", "--quiet", "--initial-branch", "main")
    subprocess.run([sys.executable, "-m", "bench", "gate", "suite.toml", "--update"], cwd=folder, check=True)
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "base")
    bench = folder.parent / "bench"
    bench.write_text(f'#!/bin/sh\nexec {sys.executable} -m bench "$@"\n')
    bench.chmod(0o755)
    return folder


CASES = {
    "no change": ("net.py", "import time\n", "# a comment\nimport time\n", 0, "### stepbench: pass", ""),
    "10 % busy-wait": ("net.py", "WAIT = 0.0", "WAIT = 0.1", 1, "SLOWER", "::error file=net.py,line=24,"),
    "one more layer": ("net.py", "range(8)", "range(9)", 1, "flops_forward", "::error file=net.py,line=24,"),
    "a wrong claim": ("claims.toml", "526336", "526337", 1, "MISMATCH", "::error file=claims.toml,line=6,"),
}
"""By name: file, old text, new text, exit code, a part of the comment, the beginning of an annotation."""


@pytest.mark.thorough
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", CASES)
def bench_every_step_in_order(name, repository, tmp_path, benchmark, pytestconfig):
    file, old, new, exit_code, said, annotated = CASES[name]
    text = (repository / file).read_text()
    assert text.count(old) == 1
    (repository / file).write_text(text.replace(old, new))
    _git(repository, "commit", "--quiet", "--all", "--message", name)
    started = time.perf_counter()
    try:
        arguments = (repository, tmp_path)
        done: Rehearsed = benchmark.pedantic(_rehearse, args=arguments, rounds=1, iterations=1)
    finally:
        _git(repository, "reset", "--quiet", "--hard", "HEAD^1")
    seconds = time.perf_counter() - started
    annotations = [line for line in done.output.splitlines() if line.startswith("::error")]
    benchmark.extra_info.update(exit_code=done.exit_code, annotations=len(annotations))
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\nci: {name}: exit code {done.exit_code}, {len(annotations)} annotations, {seconds:.0f} s")
    assert done.exit_code == exit_code, done.output
    assert said in done.summary, done.summary
    assert not annotated or any(line.startswith(annotated) for line in annotations), annotations


def _rehearse(repository: Path, scratch: Path) -> Rehearsed:
    inputs = {"gate": "suite.toml", "check": "claims.toml", "ab": COMPARISON, "comment": "false"}
    return rehearse(
        ACTION,
        {**inputs, "bench": str(repository.parent / "bench")},
        workspace=repository,
        scratch=scratch / "runner",
        environment={"OMP_NUM_THREADS": "1"},
    )


def _git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=rehearsal", "-c", "user.email=rehearsal@example.invalid")
    subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    )
