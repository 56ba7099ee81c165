"""Marks that the profiler records, a span around each phase and each call of a module, and what it recorded then.

The hooks are global, not the model's own: those would switch off torch's fast paths, and fail on in-place operations.
`torch.profiler.record_function` goes through the dispatcher and costs ten times as much as the mark used here. What was
recorded becomes plain values in nanoseconds; nothing else knows torch's profiler.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch._C._autograd import DeviceType
from torch._C._profiler import _RecordFunctionFast
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from bench.core.record import Phase
from bench.device.backend import is_runtime_call
from bench.device.step import Marks, Step

_BACKWARD_SCOPE = 1  # at::RecordScope::BACKWARD_FUNCTION
EVALUATE = "autograd::engine::evaluate_function: "
"""What the engine does around a node: buffers and sums of gradients."""

_WAIT = "Synchronize"


@dataclass(frozen=True, slots=True)
class Span:
    """Something the host did.

    Attributes:
        thread: Whose time it took.
        sequence: Forward: the number that the next autograd node gets. Of a node: its own. -1 is none.
        forward_thread: Thread on which a node was made.
        is_node: Whether it is an autograd node that runs, or the engine around one.
        correlation: Joins it with the kernels it launched.
    """

    name: str
    start: int
    end: int
    thread: int = 1
    sequence: int = -1
    forward_thread: int = 0
    is_node: bool = False
    correlation: int = 0


@dataclass(frozen=True, slots=True)
class Kernel:
    """Something a device did.

    Attributes:
        operation: `Span.correlation` of the operation that launched it; 0 is unknown.
        launched: When the host had launched it; None is unknown.
    """

    name: str
    start: int
    end: int
    operation: int = 0
    launched: int | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """The host waited for the device."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything that one stretch of profiling recorded."""

    spans: tuple[Span, ...]
    kernels: tuple[Kernel, ...] = ()
    waits: tuple[Wait, ...] = ()


def read_recording(events: Iterable[Any]) -> Recording:
    """Read the raw events of a profile: `profiler.kineto_results.events()`.

    Calls of a device's runtime are no spans: they lie inside the operations that make them, on threads numbered by the
    system instead of by torch.
    """
    spans: list[Span] = []
    device: list[Any] = []
    launches: dict[int, int] = {}  # correlation of a launch -> when it was done
    waits: list[Wait] = []
    annotations: set[str] = set()
    for event in events:
        name = event.name()
        if event.device_type() != DeviceType.CPU:
            device.append(event)
        elif name.startswith("["):  # [memory] and the like: instants
            continue
        elif "::" not in name and is_runtime_call(name):
            launches[event.correlation_id()] = event.end_ns()
            if _WAIT in name:
                waits.append(Wait(event.start_ns(), event.end_ns()))
        elif not event.is_async() and event.start_thread_id() == event.end_thread_id():
            if event.is_user_annotation():
                annotations.add(name)
            spans.append(
                Span(
                    name=name,
                    start=event.start_ns(),
                    end=event.end_ns(),
                    thread=event.start_thread_id(),
                    sequence=event.sequence_nr(),
                    forward_thread=event.fwd_thread_id(),
                    is_node=event.scope() == _BACKWARD_SCOPE or name.startswith(EVALUATE),
                    correlation=event.correlation_id(),
                )
            )
    names = annotations | {span.name for span in spans if span.name.startswith("bench.")}
    kernels = [
        Kernel(
            name=event.name(),
            start=event.start_ns(),
            end=event.end_ns(),
            operation=event.linked_correlation_id(),
            launched=launches.get(event.correlation_id()),
        )
        for event in device
        if event.name() not in names and "Sync" not in event.name() and not event.is_user_annotation()
    ]
    spans.sort(key=lambda span: (span.thread, span.start, -span.end))
    return Recording(
        spans=tuple(spans),
        kernels=tuple(sorted(kernels, key=lambda kernel: kernel.start)),
        waits=tuple(sorted(waits, key=lambda wait: wait.start)),
    )


STEP_MARK = "bench.step"
PHASE_MARK = "bench.phase:"
LAYER_MARK = "bench.layer:"


class _OpenMarks(threading.local):
    """The calls under way on each thread: activation checkpointing calls modules on the thread of backward."""

    def __init__(self) -> None:
        self.stack: list[_RecordFunctionFast] = []


@contextlib.contextmanager
def layer_marks(model: nn.Module) -> Iterator[None]:
    """Put a mark around every call of the model's modules while entered, on whatever thread it is made."""
    names = {id(module): LAYER_MARK + name for name, module in model.named_modules()}
    open_marks = _OpenMarks()

    def enter(module: nn.Module, _inputs: Any) -> None:
        name = names.get(id(module))
        if name is not None:
            mark = _RecordFunctionFast(name)
            mark.__enter__()
            open_marks.stack.append(mark)

    def leave(module: nn.Module, _inputs: Any, _output: Any) -> None:
        if id(module) in names:
            open_marks.stack.pop().__exit__(None, None, None)

    entering = register_module_forward_pre_hook(enter)
    leaving = register_module_forward_hook(leave, always_call=True)
    try:
        yield
    finally:
        entering.remove()
        leaving.remove()


def run_marked(step: Step) -> None:
    """Run one step as `Step.__call__` does, with a mark around each phase; freed tensors fall into the last one."""
    spans: list[_RecordFunctionFast] = []

    def begin(phase: Phase | str) -> None:
        span = _RecordFunctionFast(PHASE_MARK + phase)
        span.__enter__()
        spans.append(span)

    def end(_: Phase | str) -> None:
        spans.pop().__exit__(None, None, None)

    with _RecordFunctionFast(STEP_MARK):
        step.split(Marks(begin, end))
