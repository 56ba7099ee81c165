"""Passes of their own over one prepared step: where the host waits, what torch.compile did, where the memory goes.

Lines that make the host wait for the device are `.item()`, `nonzero`, `.cpu()`. On the CPU such a line costs nothing,
and it is found all the same: on an accelerator it will stop the host until the device has done everything that was
queued. There, only what reads a tensor of the accelerator counts.

Memory over a steady step is predicted by cause on fake tensors, and measured phase by phase on an accelerator.
"""

from __future__ import annotations

import linecache
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.utils import counters

import bench.core
from bench.core.cell import Cell, CompileMode
from bench.core.errors import ModelError
from bench.core.profile import GraphBreak, MemoryPoint, MemoryProfile, PhasePeak, SyncPoint
from bench.core.record import Phase, PredictedPeak
from bench.core.workload import Workload
from bench.counters.build import whole
from bench.counters.fakes import fake_step, without_collector
from bench.counters.memory import block_bytes
from bench.counters.modes import OperationMode
from bench.counters.modules import ModuleTracker
from bench.counters.tensors import tensors_in
from bench.counters.timeline import track_steps
from bench.device import step as step_module
from bench.device.backend import backend_of, is_accelerator
from bench.device.batch import call, make_batch
from bench.device.step import Marks, Step
from bench.measure.profile.work import Whereabouts, run_phases

READS = frozenset(
    {
        "_local_scalar_dense",  # .item(), bool(), float(), and an `if` on a tensor
        "nonzero",
        "masked_select",
        "equal",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "bincount",
        "repeat_interleave",
    }
)
"""Operations whose result's shape or value the host must know before it can go on."""

_STEP_FILE = str(Path(step_module.__file__))
_BENCH, _MODELS = Path(bench.core.__file__).parents[1], Path(bench.core.__file__).parents[1] / "models"
_TORCH = Path(torch.__file__).parent
_OPTIMIZERS = _TORCH / "optim"
_LIBRARY = Path(linecache.__file__).parent


def find_syncs(step: Step) -> tuple[SyncPoint, ...]:
    """Run one step and find every operation that reads a value, with the user's line; most calls first.

    On the CPU, reads by torch itself are left out: its optimizers keep their step counters on the CPU everywhere.
    """
    tracker = ModuleTracker(whole(step.networks))
    whereabouts = Whereabouts(tracker)
    spotter = _Spotter(whereabouts)
    with without_collector(), tracker.track(), spotter:
        run_phases(step, whereabouts)
    return tuple(
        SyncPoint(
            operation=operation,
            phase=phase,
            layer=layer,
            calls=calls,
            file=file,
            line=line,
            code=linecache.getline(file, line).strip() or None if file and line else None,
        )
        for (operation, phase, layer, file, line), calls in spotter.found.most_common()
    )


class _Spotter(OperationMode):  # type: ignore[no-untyped-call]
    """Notes operations that read a value, while it is entered."""

    def __init__(self, whereabouts: Whereabouts) -> None:
        super().__init__()
        self.found: Counter[tuple[str, Phase | str, str, str | None, int | None]] = Counter()
        self._whereabouts = whereabouts

    def operate(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        outputs = func(*args, **kwargs)
        name = str(func.overloadpacket.__name__)
        sources = list(tensors_in((args, kwargs)))
        is_on_accelerator = any(tensor.device.type not in ("cpu", "meta") for tensor in sources)
        is_read = name in READS or (is_on_accelerator and _is_copy_to_host(name, args, kwargs, outputs))
        if is_read and sources:
            file, line = _user_line()
            all_on_cpu = not is_on_accelerator
            if file is not None or not all_on_cpu:
                layer = self._whereabouts.current_layer()
                self.found[f"{func.namespace}.{name}", self._whereabouts.phase, layer, file, line] += 1
        return outputs


def _is_copy_to_host(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> bool:
    """Whether an operation copies from the accelerator to the host and waits for it."""
    if (
        name not in ("_to_copy", "copy_")
        or kwargs.get("non_blocking")
        or (name == "copy_" and len(args) > 2 and args[2])
    ):
        return False
    return any(tensor.is_cpu for tensor in tensors_in(outputs))


def _user_line() -> tuple[str | None, int | None]:
    """Find the innermost line of the user's own code under way in this step; None where an optimizer of torch reads."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file == _STEP_FILE or Path(file).is_relative_to(_OPTIMIZERS):
            break
        if _is_users(file):
            return file, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return None, None


def _is_users(file: str) -> bool:
    if file.startswith("<"):
        return False
    path = Path(file)
    if path.is_relative_to(_TORCH):
        return False
    if path.is_relative_to(_BENCH):
        return path.is_relative_to(_MODELS)
    return not path.is_relative_to(_LIBRARY) or "site-packages" in path.parts


MAX_BREAKS = 50
"""Breaks that are kept; a model with more of them is not worth a longer list."""


def graphs_so_far() -> int:
    """Read how many graphs this process has compiled."""
    return int(counters["stats"]["unique_graphs"])


def find_breaks(step: Step) -> tuple[GraphBreak, ...]:
    """Trace the model's forward again without compiling it, and tell where the tracer had to leave a graph.

    Forgets what was compiled in this process: call it last.
    """
    model = step.model
    compiled, model._compiled_call_impl = model._compiled_call_impl, None  # trace the model, not its compiled call
    try:
        with torch.set_grad_enabled(step.is_training):
            explained = call(torch._dynamo.explain(model), step.batch[0])
    finally:
        model._compiled_call_impl = compiled
    breaks = []
    for reason in explained.break_reasons[:MAX_BREAKS]:
        where = reason.user_stack[-1] if reason.user_stack else None
        first = next((line.strip() for line in str(reason.reason).splitlines() if line.strip()), "no reason was given")
        breaks.append(
            GraphBreak(
                reason=first,
                file=where.filename if where else None,
                line=where.lineno if where else None,
            )
        )
    return tuple(breaks)


def feed_batches(step: Step, workload: Workload, batches: Sequence[int], device: str) -> int:
    """Run the compiled model's forward on other batch sizes; return how many graphs were compiled for them.

    One is what is to be expected: torch then makes the batch a variable of the graph.
    """
    before = graphs_so_far()
    for batch_size in batches:
        inputs, _ = make_batch(workload, batch_size, device)
        with torch.set_grad_enabled(step.is_training):
            call(step.model, inputs)
    return graphs_so_far() - before


MAX_POINTS = 200


def profile_memory(workload: Workload, cell: Cell, step: Step) -> MemoryProfile:
    """Follow the tensors alive over the second step, whose optimizer has its state, on fake tensors.

    On an accelerator the allocator's own peaks are read beside, in the real step; where it reads the value of a tensor,
    it is followed itself. Run when nothing is timed.
    """
    method = "tensors alive, on fake CPU tensors"
    try:
        with fake_step(workload, cell) as fake:
            history = track_steps(fake).history(round_to=block_bytes(cell))
    except ModelError:
        if cell.compile is not CompileMode.NONE:
            raise
        method = "tensors alive, in a real step"
        history = track_steps(step).history(round_to=block_bytes(cell))
    measured = measure_phases(step, cell.device) if is_accelerator(cell.device) else ()
    return MemoryProfile(points=thin(history), measured=measured, method=method)


def thin(history: Sequence[tuple[Phase | str, PredictedPeak]]) -> tuple[MemoryPoint, ...]:
    """Keep so many points, evenly spread: of each stretch its highest."""
    width = -(-len(history) // MAX_POINTS) or 1
    stretches = (history[start : start + width] for start in range(0, len(history), width))
    return tuple(_point(*max(stretch, key=lambda item: item[1].total_bytes)) for stretch in stretches)


def _point(phase: Phase | str, peak: PredictedPeak) -> MemoryPoint:
    names = (one.name for one in fields(MemoryPoint) if one.name != "phase")
    return MemoryPoint(phase=phase, **{name: getattr(peak, name) for name in names})


def measure_phases(step: Step, device: str) -> tuple[PhasePeak, ...]:
    """Run one step on an accelerator and read its allocator's peak in each phase; synchronises at phase borders."""
    backend = backend_of(device)
    if backend.allocator().peak_allocated is None:
        return ()
    found: list[PhasePeak] = []

    def end(phase: Phase | str) -> None:
        backend.synchronize()
        read = backend.allocator()
        assert read.peak_allocated is not None and read.allocated is not None
        found.append(
            PhasePeak(phase=phase, peak_allocated_bytes=read.peak_allocated, end_allocated_bytes=read.allocated)
        )
        backend.reset_peak()

    backend.synchronize()
    backend.reset_peak()
    step.split(Marks(end=end))
    return tuple(found)
