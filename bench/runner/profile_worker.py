"""Profile a cell inside a fresh process: the profiler never runs where anything else is timed."""

from __future__ import annotations

import warnings

from bench import registry
from bench.core.cell import Cell
from bench.core.profile import Profile, ProfileOptions
from bench.device.capabilities import why_not
from bench.profiling import profile


def profile_cell(cell: Cell, options: ProfileOptions, flops_per_byte: float | None = None) -> Profile | str:
    """Profile one cell; a reason instead where the device cannot compute in its precision.

    `flops_per_byte` is the ridge of the device's roofline, where its peaks were measured.
    """
    reason = why_not(cell.device, cell.precision)
    if reason is not None:
        return reason
    workload = registry.resolve(cell.model, input_shape=cell.input_shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the profiler's own, of one kind per version
        return profile.profile_cell(workload, cell, options, flops_per_byte=flops_per_byte)
