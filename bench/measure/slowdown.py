"""Probe how much slower a step in some precision is than in fp32 on this device, in well under a second.

A matrix product alone is no probe: on many a CPU it is fast in bf16 while training steps are slower. So it is two small
linear layers, forward and backward under the precision's own autocast or casts, with Adam. On one thread, and by the
fastest of several turns: other work on the machine must not decide which cells are measured.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from bench.core.cell import Cell, Precision
from bench.core.workload import Workload
from bench.device.prepare import prepare
from bench.measure.blocks import time_steps, without_garbage_collection
from bench.measure.clock import clock_for

_WIDTH = 256
_TURNS = 3
_STEPS = 5
_PATIENCE_SECONDS = 0.1


def _batch(batch_size: int, device: str | torch.device) -> tuple[tuple[Tensor, ...], Tensor]:
    return (torch.randn(batch_size, _WIDTH, device=device),), torch.randn(batch_size, _WIDTH, device=device)


_PROBE = Workload(
    name="probe",
    build_model=lambda: nn.Sequential(nn.Linear(_WIDTH, _WIDTH), nn.GELU(), nn.Linear(_WIDTH, _WIDTH)),
    make_batch=_batch,
    loss=lambda outputs, targets: (outputs.float() - targets.float()).square().mean(),
    make_optimizer=torch.optim.Adam,
)


def measure_slowdown(device: str, precision: Precision) -> float:
    """Compare a step in `precision` with one in fp32.

    Returns:
        The ratio of the fastest steps, of three turns of up to 0.1 s and five steps each; 2 is twice as slow.
    """
    pair = (precision, Precision.FP32)
    with without_garbage_collection():
        turns = [[_fastest_step(device, one) for one in pair] for _ in range(_TURNS)]
    return min(seconds for seconds, _ in turns) / min(seconds for _, seconds in turns)


def _fastest_step(device: str, precision: Precision) -> float:
    cell = Cell(model="probe", batch_size=64, device=device, precision=precision, threads=1)
    clock = clock_for(device)
    with prepare(_PROBE, cell) as step:
        started = time.perf_counter()
        step()
        taken: list[float] = []
        while not taken or (len(taken) < _STEPS and time.perf_counter() - started < _PATIENCE_SECONDS):
            taken += time_steps(step, clock, 1)[0]
    return min(taken)
