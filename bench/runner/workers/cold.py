"""A cold start: a process in which nothing was loaded before, from the start of Python to steady steps.

It is a freshly started interpreter. This module imports no torch, because that import is one of the things measured.
"""

from __future__ import annotations

import os
import time

from bench.core.cell import Cell
from bench.core.record import ColdStart, Sampling

CACHES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
"""Environment variables of the folders in which torch keeps compiled code, and the folder of each."""


def start_cold(cell: Cell, sampling: Sampling, folder: str, began: float, has_cache: bool) -> ColdStart:
    """Begin a cell of one process as a program of one's own does, with compiled code kept below a folder.

    `began` is `time.monotonic()` of the parent, just before it started this process.
    """
    entered = time.monotonic()  # one clock for all processes
    os.environ |= {variable: f"{folder}/{name}" for variable, name in CACHES.items()}

    from bench import registry
    from bench.device.backend import backend_of, synchronize
    from bench.device.prepare import prepare
    from bench.measure.blocks import warm_up_until_steady
    from bench.measure.clock import clock_for

    imported = time.monotonic()
    workload = registry.resolve(cell.model, input_shape=cell.input_shape)
    with prepare(workload, cell) as step, backend_of(cell.device).opened():
        synchronize(cell.device)
        built = time.monotonic()
        steps = warm_up_until_steady(step, clock_for(cell.device), sampling)
    return ColdStart(
        has_cache=has_cache,
        python_seconds=entered - began,
        import_seconds=imported - entered,
        build_seconds=built - imported,
        step_seconds=tuple(steps),
    )
