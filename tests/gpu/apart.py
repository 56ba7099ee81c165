"""What a question does on the GPU itself, in a process of its own, which ends and takes its context along.

NVML lists every process that has a context. One that pytest itself kept would be a stranger to all that stepbench
measures beside it: each record would be doubted, and each session of `bench ab` void.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

import torch

from bench import registry
from bench.core.cell import Cell, Precision
from bench.device.backend import backend_of
from bench.device.prepare import prepare
from bench.device.step import Step
from bench.runner import processes
from tests.gpu import asking

DEVICE = "cuda:0"


def asked(function: str, *arguments: Any) -> Any:
    """Call a function of this module in a process of its own."""
    ending = processes.call(f"{__name__}:{function}", *arguments, timeout_seconds=asking.COMMAND_SECONDS)
    return ending.checked(f"{function} gave no answer")


@contextlib.contextmanager
def step_of(model: str, batch: int, precision: str) -> Iterator[Step]:
    """Prepare a step."""
    cell = Cell(model=model, batch_size=batch, device=DEVICE, precision=Precision(precision))
    with prepare(registry.resolve(model), cell) as step:
        yield step


def facts() -> dict[str, Any]:
    """Read what the GPU tells of itself, and of this process, which uses it."""
    backend = backend_of(DEVICE)
    held = torch.ones(1, device=DEVICE)
    found = dict(backend.facts())
    uuid = found["gpu_uuid"]
    allocated = backend.allocator().allocated
    del held
    return found | {
        "state": backend.state(uuid),
        "used": backend.used_bytes(uuid),
        "allocated": allocated,
        "is_listed": asking.is_listed(uuid),
    }


def wall(model: str, batch: int, precision: str) -> float:
    """Time a plain loop of steps by the wall clock."""
    with step_of(model, batch, precision) as step:
        return asking.wall(step, backend_of(DEVICE))


def launching(model: str, batch: int, precision: str) -> tuple[float, float]:
    """Time the least that launching a step takes, and the step."""
    with step_of(model, batch, precision) as step:
        total = asking.wall(step, backend_of(DEVICE), 0.8)
        return asking.launching(step, backend_of(DEVICE)), total


def power(model: str, batch: int, precision: str, uuid: str) -> tuple[float, float]:
    """Sample the power of a plain loop of steps; return mean watts, and joules of a step."""
    with step_of(model, batch, precision) as step:
        return asking.power(step, backend_of(DEVICE), uuid)


def memory(model: str, batch: int, precision: str) -> dict[str, int]:
    """Read torch's own counters over a step, and what cuBLAS' workspaces keep after it."""
    gc.collect()
    torch.cuda.empty_cache()
    torch._C._cuda_clearCublasWorkspaces()
    before = torch.cuda.memory_allocated(DEVICE)
    with step_of(model, batch, precision) as step:
        truth = asking.peak(step, backend_of(DEVICE))
        torch._C._cuda_clearCublasWorkspaces()
        kept = (truth["held"] or 0) - torch.cuda.memory_allocated(DEVICE)
    return {**truth, "peak": (truth["peak"] or 0) - before, "kept_workspaces": kept}  # type: ignore[dict-item]
