"""Find the largest batch of models, and run it for real if asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.core.cell import Cell
from bench.core.errors import BenchError, UsageError
from bench.core.fit import Fit, FittedCell, Verification
from bench.core.progress import told
from bench.core.record import Outcome
from bench.core.units import format_bytes
from bench.runner import processes
from bench.runner.counting import call_each, workspaces_of
from bench.runner.plan import make_plan

FREE_SHARE = 0.9
"""Of a device's free memory, what is filled by default: fragmentation and convolutions' workspaces need the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """The answers of one `bench fit`; `free_bytes` is of each device whose memory was not given, in pairs."""

    cells: tuple[FittedCell, ...]
    free_bytes: tuple[tuple[str, int], ...] = ()


def fit_cells(
    cells: Sequence[Cell],
    memory_bytes: int | None = None,
    *,
    verify: bool = False,
    method: str = "forkserver",
    timeout_seconds: float | None = None,
) -> Fitting:
    """Find the largest batch that fits, by prediction; the cells' own batch sizes are ignored.

    Args:
        cells: Models with mode, precision, optimizer and device.
        memory_bytes: Memory to be filled; None is nine tenths of what is free on each cell's device.
        verify: Then run the batch that was found, one cell after the other, each in a fresh process; the next larger
            batch is never run.
        method: How processes are started, as in `processes.call`.
        timeout_seconds: Timeout of each process.

    Raises:
        BenchError: A model or device is not there, or nothing at all could be predicted.
    """
    limits: dict[str, Any] = {"method": method, "timeout_seconds": timeout_seconds}
    plan = make_plan(cells, **limits)
    free: dict[str, int] = {}
    if memory_bytes is None:
        free = {cell.device: _free_memory(cell.device, limits) for cell in plan.cells}
    rooms = [
        (cell, memory_bytes or max(1, int(FREE_SHARE * free[cell.device])), workspaces_of(cell, plan.uuid_of(cell)))
        for cell in plan.cells
    ]
    endings = call_each("bench.runner.workers.cells:fit_cell", rooms, "predicting", **limits)
    fitted = []
    for cell, ending in zip(plan.cells, endings, strict=True):
        if ending.outcome is Outcome.OK:
            found: Fit = ending.value
            fitted.append(FittedCell(cell=replace(cell, batch_size=max(1, found.batch_size)), fit=found))
        else:
            fitted.append(FittedCell(cell=cell, reason=ending.reason or ending.outcome.value))
    if all(one.fit is None for one in fitted):
        raise BenchError(f"{fitted[0].cell.model} could not be predicted: {fitted[0].reason}")
    if verify:
        fitted = [replace(one, verification=_verify(one, limits)) for one in told(fitted, "running", len(fitted))]
    return Fitting(cells=tuple(fitted), free_bytes=tuple(free.items()))


def _verify(one: FittedCell, limits: Mapping[str, Any]) -> Verification | None:
    """Run one cell, if this machine has room for what is predicted."""
    if one.fit is None or one.fit.peak is None:
        return None
    need, free = one.fit.peak.total_bytes, _free_memory(one.cell.device, limits)
    if need > free:
        words = f"it needs {format_bytes(need)}, and {one.cell.device} has {format_bytes(free)} free"
        return Verification(outcome=Outcome.SKIPPED, reason=words)
    ending = processes.call("bench.runner.workers.cells:verify_cell", one.cell, **limits)
    if ending.outcome is Outcome.OK:
        return ending.value  # type: ignore[no-any-return]
    return Verification(outcome=ending.outcome, reason=ending.reason)


def _free_memory(device: str, limits: Mapping[str, Any]) -> int:
    ending = processes.call("bench.runner.workers.cells:free_memory", device, **limits)
    if ending.outcome is Outcome.OK and ending.value is not None:
        return int(ending.value)
    raise UsageError(f"the free memory of {device} cannot be read; give --memory, for example --memory 24GiB")
