"""Models that do something to their task; a real Slurm runs them. Each misbehaves when it is built, so in a worker."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import torch
from torch import nn

from bench import Workload


def workload(build):
    return Workload(
        build_model=build,
        make_batch=lambda size, device: ((torch.randn(size, 4, device=device),), torch.zeros(size, device=device)),
        loss=lambda outputs, _: outputs.sum(),
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )


def good():
    return workload(lambda: nn.Linear(4, 3))


also_good = another_good = good


def kills_its_task():
    def build():
        os.kill(multiprocessing.parent_process().pid, signal.SIGKILL)
        time.sleep(3600)

    return workload(build)


def kills_itself():
    return workload(lambda: os.kill(os.getpid(), signal.SIGKILL))


def a_rank_dies():
    """Die on the last rank of several, and be good on the others."""
    is_last = int(os.environ.get("RANK", 0)) == int(os.environ.get("WORLD_SIZE", 1)) - 1 > 0
    return kills_itself() if is_last else good()


def a_node_dies():
    """Kill the agent of the last node, which takes its ranks along."""
    is_last = int(os.environ.get("RANK", 0)) == int(os.environ.get("WORLD_SIZE", 1)) - 1 > 0
    return workload(lambda: os.kill(os.getppid(), signal.SIGKILL) or nn.Linear(4, 3)) if is_last else good()


def eats_memory():
    """Take 3 GB, then hold them until Slurm looks, which it does once a second."""

    def build():
        held = b"x" * (3 << 30)
        time.sleep(3600)
        return held

    return workload(build)


def sleeps():
    return workload(lambda: time.sleep(3600))


sleeps_too = sleeps


def sleeps_once():
    """Sleep the first time it is built in the folder it runs in, and be good afterwards."""

    def build():
        mark = Path("slept")
        if not mark.exists():
            mark.touch()
            time.sleep(3600)
        return nn.Linear(4, 3)

    return workload(build)
