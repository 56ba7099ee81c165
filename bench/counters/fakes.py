"""A step on fake CPU tensors: every operation is dispatched, nothing is computed and nothing is allocated.

Why fake *CPU* tensors whatever the cell's device: on meta, attention takes another path (+11 % memory), and fake CUDA
tensors raise in backward where there is no driver. Fake CPU tensors equal the real CPU run to the bit, and stand in for
an accelerator with these known differences, which `predict` states again:

- autocast keeps fewer operations in fp32 on the CPU than on CUDA;
- kernels' own workspaces (cuDNN, cuBLAS) are tensors on neither side, but CUDA's allocator counts them;
- the number of dispatched operations is the CPU's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
from collections.abc import Iterator

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.core.cell import Cell, CompileMode
from bench.core.workload import Workload
from bench.device.step import Step, prepare


@contextlib.contextmanager
def fake_step(workload: Workload, cell: Cell) -> Iterator[Step]:
    """Prepare the cell's step on fake CPU tensors; a compiled cell runs eagerly.

    Global switches and the random state are restored on leaving. The number of threads is left alone.
    """
    on_cpu = dataclasses.replace(cell, device="cpu", compile=CompileMode.NONE, threads=None)
    with FakeTensorMode(allow_non_fake_inputs=True), prepare(workload, on_cpu, device="cpu") as step:
        if step.optimizer is not None and not cell.device.startswith("cpu"):
            _choose_foreach(step.optimizer)
        yield step


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Collect garbage once, then hold the collector off: when cycles are freed must not depend on luck."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _choose_foreach(optimizer: torch.optim.Optimizer) -> None:
    """Choose the foreach implementation, as torch does by itself on accelerators but never on the CPU.

    It holds temporaries for all parameters at once, so it moves the peak.
    """
    for group in optimizer.param_groups:
        if "foreach" in group and group["foreach"] is None and not group.get("fused"):
            group["foreach"] = True
