"""Ranks of several nodes without Slurm: `srun` is a script that starts every agent on this machine."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from unittest import mock

import pytest

from bench.core.progress import waited_for
from bench.core.record import Outcome
from bench.runner import processes
from bench.runner.slurm.script import NODES_FOLDER_VARIABLE
from bench.runner.workers import nodes

SRUN = """#!/usr/bin/env python3
import os, subprocess, sys
count = next(int(one.partition("=")[2]) for one in sys.argv if one.startswith("--nodes="))
command = sys.argv[sys.argv.index("PYTHON"):]
agents = [
    subprocess.Popen(command, env={**os.environ, "SLURM_NODEID": str(node), "SLURMD_NODENAME": f"n{node}"})
    for node in range(count)
]
sys.exit(max(agent.wait() for agent in agents))
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what ranks do, on a machine whose `srun` knows two nodes."""
    program = tmp_path / "bin" / "srun"
    program.parent.mkdir()
    program.write_text(SRUN.replace("PYTHON", nodes.sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.setenv(NODES_FOLDER_VARIABLE, str(tmp_path / "nodes"))
    (tmp_path / "ranks").mkdir()
    return tmp_path / "ranks"


@pytest.mark.slow
def test_ranks_of_several_nodes_have_the_time_that_one_of_them_expects(cluster: Path) -> None:
    """As on one machine: the limit is ten minutes beyond the budget, more where the first step needs more."""
    arguments = ("tests.runner.rank_faults:run_on_nodes", "expect_and_wait_longer", str(cluster), 20.0)
    ending = processes.call(*arguments, method="spawn")
    assert ending.outcome is Outcome.OK, ending


def test_what_a_rank_expects_reaches_whoever_waits_on_the_first_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once each time that it is said, also where it is the same again."""
    heard: list[float] = []
    said = iter([(0, 60.0), (1, 30.0), None, (0, 60.0)])

    def look(*_: object) -> bool:
        try:
            one = next(said)
        except StopIteration:
            return True
        if one is not None:
            monkeypatch.setenv("RANK", str(one[0]))
            nodes._tell(tmp_path, one[1])
        return False

    with waited_for(heard.append):
        nodes._listen(tmp_path, mock.Mock(wait=look))
    assert heard == [60.0, 30.0, 60.0]
    assert 60.0 <= nodes._granted(tmp_path) < 70.0


def test_an_old_kernel_knows_when_srun_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 5.3 there is no descriptor of a process, and clusters keep their kernels."""
    program = tmp_path / "srun"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "pidfd_open", mock.Mock(side_effect=OSError(errno.ENOSYS, "not implemented")))
    with waited_for(lambda _: None):
        assert nodes._srun(tmp_path, 2) == 3


def test_a_folder_that_is_gone_is_no_failure_of_a_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    nodes._tell(tmp_path / "gone", 60.0)
    assert nodes._granted(tmp_path / "gone") == 0.0
