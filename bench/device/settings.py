"""Torch's global switches for one cell, restored afterwards whatever happens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from bench.core.cell import Cell, Precision


@contextlib.contextmanager
def cell_settings(cell: Cell) -> Iterator[None]:
    """Set seed, threads and float32 precision as the cell asks, and put everything back on leaving.

    Sets the random state of the CPU and of the cell's accelerator, `torch.set_num_threads`, and the fp32 precision of
    matrix products, convolutions and recurrent layers: on CUDA `tf32` for Precision.TF32 and `ieee` for all others; on
    the CPU always `ieee`, because a model's file may have called `torch.set_float32_matmul_precision("medium")`, which
    lets oneDNN compute fp32 in bf16.
    """
    threads = torch.get_num_threads()
    cuda: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)  # type: ignore[attr-defined]
    cpu: tuple[Any, ...] = (torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv, torch.backends.mkldnn.rnn)  # type: ignore[attr-defined]
    backends = cuda + cpu
    precisions = [backend.fp32_precision for backend in backends]
    device = torch.device(cell.device)
    accelerators = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=accelerators):
        try:
            torch.manual_seed(cell.seed)
            if cell.threads is not None:
                torch.set_num_threads(cell.threads)
            for backend in backends:
                is_tf32 = cell.precision is Precision.TF32 and backend in cuda
                backend.fp32_precision = "tf32" if is_tf32 else "ieee"
            yield
        finally:
            if cell.threads is not None:
                torch.set_num_threads(threads)
            for backend, precision in zip(backends, precisions, strict=True):
                backend.fp32_precision = precision
