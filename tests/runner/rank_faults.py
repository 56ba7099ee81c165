"""What ranks do in the tests, started by the real launcher from a fresh process."""

import os
from pathlib import Path

import torch

from bench import Workload
from bench.core.cell import Cell, Mode, Parallel
from bench.device.prepare import prepare
from bench.device.ranks import joined
from bench.runner.workers.launch import RanksEnded, launch
from tests.runner import faults


def run(how, folder, timeout_seconds=None, world_size=2):
    """Launch ranks of which the last does `faults.how`; return their values, or how they ended."""
    try:
        return launch(meet, how, folder, world_size=world_size, timeout_seconds=timeout_seconds)
    except RanksEnded as ended:
        return ended.ending


def meet(how, folder):
    rank = int(os.environ["RANK"])
    Path(folder, f"rank{rank}").write_text(str(os.getpid()))
    with joined("cpu") as ranks:
        ranks.wait()
        if rank == ranks.world_size - 1:
            getattr(faults, how)()
        ranks.wait()
        return rank, ranks.agree([1.0 + rank, 3.0 - rank])


def mean_loss_workload():
    """A model with dropout-free layers and a mean loss: the joint batch's gradient is the mean of the ranks'."""
    return Workload(
        build_model=lambda: torch.nn.Sequential(
            torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3)
        ),
        make_batch=lambda size, device: (
            (torch.randn(size, 6, device=device),),
            torch.randint(3, (size,), device=device),
        ),
        loss=torch.nn.functional.cross_entropy,
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )


def gradients(parallel):
    """Return, of each rank, its batch, its weights and the gradients after one backward pass, as lists."""
    return launch(_gradients, Parallel(parallel), world_size=2)


def _gradients(parallel):
    cell = Cell(model="none", batch_size=4, world_size=2, parallel=parallel, threads=1, mode=Mode.TRAIN)
    with joined("cpu") as ranks, prepare(mean_loss_workload(), cell, ranks=ranks) as step:
        weights = [_whole(parameter.detach()).tolist() for parameter in step.model.parameters()]
        step.backward(step.compute_loss(step.forward()))
        found = [_whole(parameter.grad).tolist() for parameter in step.model.parameters()]
        shards = [len(getattr(parameter, "_local_tensor", parameter)) for parameter in step.model.parameters()]
        (inputs,), targets = step.batch
        return inputs.tolist(), targets.tolist(), weights, found, shards


def _whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def on_one_gpu(cell):
    """Time a cell on a machine that says it has one GPU."""
    from bench.core.record import Sampling
    from bench.runner.workers.ranks import time_ranks

    torch.cuda.device_count = lambda: 1
    return time_ranks(cell, Sampling(), 0, None, None)
