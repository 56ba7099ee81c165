"""Marks that the profiler records: a span around each phase and around each call of a module.

The hooks are global, not the model's own: those would switch off torch's fast paths, and fail on in-place operations.
`torch.profiler.record_function` goes through the dispatcher and costs ten times as much as the mark used here.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch._C._profiler import _RecordFunctionFast
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from bench.core.record import Phase
from bench.device.marks import Marks
from bench.device.step import Step

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
