"""Count cells without timing them, find the largest batch of models, and run that for real if asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from bench.core.advice import Advice, AdviceKind
from bench.core.cell import Cell, Mode
from bench.core.errors import BenchError, UsageError
from bench.core.fit import Fit, FittedCell, Verification
from bench.core.progress import told
from bench.core.record import Counters, Outcome, Record
from bench.core.units import format_bytes
from bench.device.backend import backend_of
from bench.device.cpu import usable_cores
from bench.runner import processes
from bench.runner.endings import Ending
from bench.runner.plan import make_plan
from bench.runner.records import Stamp
from bench.runner.workers.answers import Counted
from bench.store.kept import KeptCounts


def count_all(
    cells: Sequence[Cell],
    *,
    method: str = "forkserver",
    timeout_seconds: float | None = None,
    opinions: bool = True,
    steps: bool = True,
    worker: str = "bench.runner.workers.cells",
    kept: KeptCounts | None = None,
) -> Iterator[tuple[Cell, Counted]]:
    """Count cells side by side, each in a fresh process, and yield them in order; a failure is an advice.

    Args:
        cells: With full device names.
        method: Start method, as for `processes.call`.
        timeout_seconds: Timeout of each cell.
        opinions: Ask other counters too, once per model and mode, at the smallest batch: precision, optimizer and
            layout change no FLOPs, a batch multiplies them, and fvcore runs the model on real tensors.
        steps: Count what needs whole steps too: operations, saved bytes, the predicted peak.
        worker: Module whose `count_cell` does the work.
        kept: Take what earlier commands counted of unchanged code, and keep what is counted now; None for verdicts.
    """
    smallest: dict[Cell, Cell] = {}
    for cell in cells:
        work = _without_batch(cell)
        if work not in smallest or cell.batch_size < smallest[work].batch_size:
            smallest[work] = cell
    asks = {cell: opinions and smallest[_without_batch(cell)] == cell for cell in cells}
    found = {cell: kept.find(cell, opinions=asks[cell], steps=steps) for cell in asks} if kept else {}
    calls = [(cell, asks[cell], steps) for cell in cells if found.get(cell) is None]
    endings = call_each(f"{worker}:count_cell", calls, "counting", method=method, timeout_seconds=timeout_seconds)
    for cell in cells:
        known = found.get(cell)
        if known is not None:
            yield cell, Counted(counters=known[0], advice=known[1])
            continue
        ending = next(endings)
        counted: Counted = ending.value if ending.outcome is Outcome.OK else _failed(ending)
        has_failed = any(advice.kind is AdviceKind.COUNT_FAILED for advice in counted.advice)
        if kept and counted.imported is not None and not has_failed:
            asked = {"opinions": asks[cell], "steps": steps}
            kept.keep(cell, counted.counters, counted.advice, counted.imported, **asked)
        yield cell, counted
    next(endings, None)  # its end is reached, or it would take itself for abandoned


def _without_batch(cell: Cell) -> Cell:
    """Return what other counters are asked about once: the model, its mode and input."""
    return Cell(model=cell.model, mode=cell.mode, batch_size=1, input_shape=cell.input_shape)


_PRODUCTS = frozenset(f"aten.{name}" for name in ("mm", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "linear"))


def workspaces_of(cell: Cell, gpu_uuid: str | None, operations: Iterable[str] | None = None) -> int:
    """Return the bytes that the library of matrix products takes beside all tensors, at most.

    In training autograd's thread multiplies, too. A step of which nobody knows the operations multiplies.
    """
    if operations is not None and _PRODUCTS.isdisjoint(operations):
        return 0
    threads = 2 if cell.mode is Mode.TRAIN else 1
    return backend_of(cell.device).workspace_bytes(gpu_uuid, threads)


def call_each(
    function: str,
    calls: Sequence[tuple[Any, ...]],
    what: str,
    *,
    method: str = "forkserver",
    timeout_seconds: float | None = None,
) -> Iterator[Ending]:
    """Call a function once per tuple of arguments, each in a fresh process, and yield the endings in order.

    Counting is slow Python and needs no quiet machine, so it uses all cores. `what` is told as progress.
    """

    def attempt(arguments: tuple[Any, ...]) -> Ending:
        return processes.call(function, *arguments, method=method, timeout_seconds=timeout_seconds)

    # Inline, the processes are this one: two threads would share torch's global state.
    workers = 1 if method == "inline" else min(max(len(calls), 1), usable_cores())
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from told(pool.map(attempt, calls), what, len(calls))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            processes.kill_running()
            raise


def _failed(ending: Ending) -> Counted:
    facts = (("counter", "all"), ("reason", ending.reason or ending.outcome.value))
    return Counted(counters=Counters(), advice=(Advice(kind=AdviceKind.COUNT_FAILED, facts=facts),))


def count_cells(
    cells: Sequence[Cell],
    *,
    steps: bool = True,
    timeout_seconds: float | None = None,
    kept: KeptCounts | None = None,
) -> tuple[Record, ...]:
    """Count parameters and FLOPs of one step of each cell; with `steps` also operations and the predicted peak.

    Raises:
        BenchError: A model is not there or cannot be imported.
    """
    plan = make_plan(cells, timeout_seconds=timeout_seconds)
    records = []
    counting = count_all(plan.cells, steps=steps, timeout_seconds=timeout_seconds, kept=kept)
    for cell, counted in counting:
        stamp = Stamp(cell)
        is_counted = counted.counters.parameters is not None
        reason = None if is_counted else failure_of(counted)
        outcome = Outcome.OK if is_counted else Outcome.FAILED
        records.append(stamp.record(outcome, reason=reason, counters=counted.counters, advice=counted.advice))
    return tuple(records)


def failure_of(counted: Counted) -> str:
    """Return why a cell could not be counted."""
    facts = [advice.facts for advice in counted.advice if advice.kind is AdviceKind.COUNT_FAILED]
    return str(dict(facts[0]).get("reason", "no reason was given")) if facts else "no reason was given"


def require_counted(records: Sequence[Record]) -> None:
    """Refuse when nothing at all could be counted.

    Raises:
        BenchError: No record is OK; the message is the first one's reason.
    """
    if not any(record.outcome is Outcome.OK for record in records):
        raise BenchError(f"{records[0].cell.id} could not be counted: {records[0].reason}")


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
    timeout_seconds: float | None = None,
) -> Fitting:
    """Find the largest batch that fits, by prediction; the cells' own batch sizes are ignored.

    A memory of None is nine tenths of what is free on each cell's device. With `verify` the batch that was found is
    run then, one cell after the other, each in a fresh process; the next larger batch is never run.

    Raises:
        BenchError: A model or device is not there, or nothing at all could be predicted.
    """
    plan = make_plan(cells, timeout_seconds=timeout_seconds)
    free: dict[str, int] = {}
    if memory_bytes is None:
        free = {cell.device: _free_memory(cell.device, timeout_seconds) for cell in plan.cells}
    rooms = [
        (cell, memory_bytes or max(1, int(FREE_SHARE * free[cell.device])), workspaces_of(cell, plan.uuid_of(cell)))
        for cell in plan.cells
    ]
    endings = call_each("bench.runner.workers.cells:fit_cell", rooms, "predicting", timeout_seconds=timeout_seconds)
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
        running = told(fitted, "running", len(fitted))
        fitted = [replace(one, verification=_verify(one, timeout_seconds)) for one in running]
    return Fitting(cells=tuple(fitted), free_bytes=tuple(free.items()))


def _verify(one: FittedCell, timeout_seconds: float | None) -> Verification | None:
    """Run one cell, if this machine has room for what is predicted."""
    if one.fit is None or one.fit.peak is None:
        return None
    need, free = one.fit.peak.total_bytes, _free_memory(one.cell.device, timeout_seconds)
    if need > free:
        words = f"it needs {format_bytes(need)}, and {one.cell.device} has {format_bytes(free)} free"
        return Verification(outcome=Outcome.SKIPPED, reason=words)
    ending = processes.call("bench.runner.workers.cells:verify_cell", one.cell, timeout_seconds=timeout_seconds)
    if ending.outcome is Outcome.OK:
        return ending.value  # type: ignore[no-any-return]
    return Verification(outcome=ending.outcome, reason=ending.reason)


def _free_memory(device: str, timeout_seconds: float | None) -> int:
    ending = processes.call("bench.runner.workers.cells:free_memory", device, timeout_seconds=timeout_seconds)
    if ending.outcome is Outcome.OK and ending.value is not None:
        return int(ending.value)
    raise UsageError(f"the free memory of {device} cannot be read; give --memory, for example --memory 24GiB")
