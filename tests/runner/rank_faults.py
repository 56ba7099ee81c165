"""What ranks do in the tests, started by the real launcher from a fresh process."""

import os
from pathlib import Path

import torch

from bench import Workload
from bench.core.cell import Cell, Mode, Parallel, Precision
from bench.device.prepare import prepare
from bench.device.ranks import joined
from bench.runner.workers.launch import RanksEnded, launch
from bench.runner.workers.nodes import launch_on_nodes
from tests.runner import faults


def run(how, folder, timeout_seconds=None, world_size=2):
    """Launch ranks of which the last does `faults.how`; return their values, or how they ended."""
    try:
        return launch(meet, how, folder, world_size=world_size, timeout_seconds=timeout_seconds)
    except RanksEnded as ended:
        return ended.ending


def run_on_nodes(how, folder, timeout_seconds):
    """The same on two nodes, of a rank each."""
    try:
        return launch_on_nodes(meet, how, folder, nodes=2, ranks=1, timeout_seconds=timeout_seconds)
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


def overflowing_workload(factor):
    """A loss of one output, whose gradient is times `factor`: in fp16 it overflows in the first rank's shard alone."""
    return Workload(
        build_model=lambda: torch.nn.Sequential(torch.nn.Linear(6, 4)),
        make_batch=lambda size, device: (
            (torch.ones(size, 6, device=device),),
            torch.zeros(size, device=device),
        ),
        loss=lambda outputs, _: factor * outputs[:, 0].float().mean(),
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )


def scales(parallel, steps):
    """Return, of each rank and step, what was left of its own gradients, the scale, and whether weights changed."""
    return launch(_scales, Parallel(parallel), steps, world_size=2)


def _scales(parallel, steps):
    cell = Cell(model="none", batch_size=1, world_size=2, parallel=parallel, threads=1, precision=Precision.FP16_AMP)
    found = []
    with joined("cpu") as ranks, prepare(overflowing_workload(1e4), cell, ranks=ranks) as step:
        for _ in range(steps):
            before = [_whole(parameter.detach()).clone() for parameter in step.model.parameters()]
            step.backward(step.compute_loss(step.forward()))
            own = [getattr(one.grad, "_local_tensor", one.grad) for one in step.model.parameters()]
            is_finite = all(bool(gradient.isfinite().all()) for gradient in own)
            step.optimize()
            after = [_whole(parameter.detach()) for parameter in step.model.parameters()]
            has_changed = any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
            found.append((is_finite, step.scaler.get_scale(), has_changed))
    return found
