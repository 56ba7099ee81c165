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


def _in_its_first_job(misbehave):
    """Misbehave in the first job that builds it in the folder it runs in, and be good in later ones."""
    name = misbehave.__name__

    def build():
        mark, job = Path(f"{name}.job"), os.environ["SLURM_ARRAY_JOB_ID"]
        if not mark.exists():
            mark.write_text(job)
        if mark.read_text() == job:
            misbehave()
        return nn.Linear(4, 3)

    return workload(build)


def raises_at_first():
    def raise_at_first():
        raise RuntimeError("not in this job")

    return _in_its_first_job(raise_at_first)


def dies_at_first():
    def die_at_first():
        os.kill(os.getpid(), signal.SIGKILL)

    return _in_its_first_job(die_at_first)


def sleeps_at_first():
    def sleep_at_first():
        time.sleep(3600)

    return _in_its_first_job(sleep_at_first)
