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
    matrix products and convolutions: `tf32` for Precision.TF32, `ieee` for all others.
    """
    threads = torch.get_num_threads()
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)  # type: ignore[attr-defined]
    precisions = [backend.fp32_precision for backend in backends]
    device = torch.device(cell.device)
    accelerators = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=accelerators):
        try:
            torch.manual_seed(cell.seed)
            if cell.threads is not None:
                torch.set_num_threads(cell.threads)
            for backend in backends:
                backend.fp32_precision = "tf32" if cell.precision is Precision.TF32 else "ieee"
            yield
        finally:
            if cell.threads is not None:
                torch.set_num_threads(threads)
            for backend, precision in zip(backends, precisions, strict=True):
                backend.fp32_precision = precision
