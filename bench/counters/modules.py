"""Know which module an operation belongs to: in forward by the calls under way, in backward by sequence numbers.

autograd numbers its nodes in the order in which forward makes them. Whenever a module is entered or left, the next
number is noted with the module that is now innermost; the backward of node n then belongs to the module of the last
note not after n. That is exact for branching networks, in-place operations and modules called twice, where hooks on
gradients are not. Backward runs on the calling thread meanwhile, because sequence numbers are counted per thread.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

LOSS = "(loss)"
"""The row of what is dispatched outside every module: the loss."""

UNATTRIBUTED = "(unattributed)"
"""The row of backward operations whose node was made before counting began, or by no node at all."""


class ModuleTracker:
    """Follows the calls of a model's modules while `track` is entered.

    Attributes:
        calls: Calls by dotted name; what activation checkpointing calls again in backward is not counted.
    """

    def __init__(self, model: nn.Module, on_output: Callable[[str, Any], None] | None = None) -> None:
        self.calls: Counter[str] = Counter()
        self._names = {id(module): name for name, module in model.named_modules()}
        self._on_output = on_output
        self._stack: list[str] = []
        self._numbers: list[int] = []  # sequence numbers of the notes, ascending
        self._layers: list[str] = []  # the innermost module from there on

    @contextlib.contextmanager
    def track(self) -> Iterator[None]:
        """Install hooks for all modules and keep backward on this thread; both are undone on leaving.

        The hooks are global, not the model's own: those would switch off torch's fast paths.
        """
        enter = register_module_forward_pre_hook(self._enter)
        leave = register_module_forward_hook(self._leave, always_call=True)
        try:
            with torch.autograd.set_multithreading_enabled(False):
                self._note()
                yield
        finally:
            enter.remove()
            leave.remove()

    @property
    def is_inside(self) -> bool:
        """Whether a module's forward is under way."""
        return bool(self._stack)

    def current_layer(self) -> str:
        """Name the module that the operation being dispatched belongs to."""
        if self._stack:
            return self._stack[-1]
        node: Any = torch._C._current_autograd_node()
        if node is None:
            return LOSS if torch._C._current_graph_task_id() == -1 else UNATTRIBUTED
        number = node._sequence_nr()
        if number > self._numbers[-1] + (1 << 62):  # gradient accumulation: made once per tensor, by no layer
            return UNATTRIBUTED
        note = bisect_right(self._numbers, number) - 1
        return self._layers[note] if note >= 0 else UNATTRIBUTED

    def _enter(self, module: nn.Module, _inputs: Any) -> None:
        name = self._names.get(id(module))
        if name is None:  # not of this model: its operations belong to whoever calls it
            name = self._stack[-1] if self._stack else LOSS
        elif torch._C._current_graph_task_id() == -1:
            self.calls[name] += 1
        self._stack.append(name)
        self._note()

    def _leave(self, module: nn.Module, _inputs: Any, output: Any) -> None:
        if self._on_output is not None and id(module) in self._names and torch._C._current_graph_task_id() == -1:
            self._on_output(self._stack[-1], output)
        self._stack.pop()
        self._note()

    def _note(self) -> None:
        self._numbers.append(torch._C._autograd._get_sequence_nr())
        self._layers.append(self._stack[-1] if self._stack else LOSS)
