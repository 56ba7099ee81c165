"""Make the per-layer table: parameters, shapes, FLOPs and bytes of each module, without its children."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import nn

from bench.core.record import LayerCount
from bench.counters.dispatches import is_counted, touched_bytes
from bench.counters.modules import LOSS, UNATTRIBUTED
from bench.counters.parameters import count_layer_parameters
from bench.counters.tally import PhaseFlops, StepFlops


class LayerObserver:
    """Collects what passes through each module during one forward pass.

    Attributes:
        calls: How often each module was called.
        shapes: Of the first output tensor of the last call.
        activation_bytes: Of the output tensors of all calls.
        bytes_touched: Read and written by the operations dispatched in a module and in no child.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.activation_bytes: Counter[str] = Counter()
        self.bytes_touched: Counter[str] = Counter()

    def on_output(self, layer: str, output: Any) -> None:
        """Note the output of one call."""
        self.calls[layer] += 1
        tensors = [leaf for leaf in torch.utils._pytree.tree_leaves(output) if isinstance(leaf, torch.Tensor)]
        if tensors and not tensors[0].is_nested:
            self.shapes[layer] = tuple(tensors[0].shape)
        self.activation_bytes[layer] += sum(t.numel() * t.element_size() for t in {id(t): t for t in tensors}.values())

    def on_operation(self, layer: str, operation: Any, inputs: Any, output: Any) -> None:
        """Note the bytes of one operation."""
        if is_counted(operation):
            self.bytes_touched[layer] += touched_bytes(operation, inputs, output)


def layer_table(model: nn.Module, step: StepFlops, observer: LayerObserver) -> tuple[LayerCount, ...]:
    """Make one row per module in the model's order, and rows for the loss and what could not be attributed.

    A row of the latter kind appears only if it has FLOPs; its name is in parentheses. Each FLOP column sums to the
    total. A module that was never called (its weights were used by its parent) has `calls` 0 and no shape.
    """
    has_backward = step.flops.backward is not None
    modules = dict(model.named_modules())
    none = PhaseFlops()
    rows = []
    for name, own in count_layer_parameters(model).items():
        flops, was_called = step.layers.get(name, none), observer.calls[name] > 0
        rows.append(
            LayerCount(
                name=name,
                type=type(modules[name]).__name__,
                calls=observer.calls[name],
                parameters=own.parameters,
                trainable_parameters=own.trainable_parameters,
                buffers=own.buffers,
                weight_shape=_weight_shape(modules[name]),
                output_shape=observer.shapes.get(name),
                flops_forward=flops.forward,
                flops_backward=flops.backward if has_backward else None,
                activation_bytes=observer.activation_bytes[name] if was_called else None,
                bytes_touched=observer.bytes_touched[name],
            )
        )
    for name in (LOSS, UNATTRIBUTED):
        flops = step.layers.get(name, none)
        if flops.forward or flops.backward:
            rows.append(
                LayerCount(
                    name=name,
                    type="",
                    flops_forward=flops.forward,
                    flops_backward=flops.backward if has_backward else None,
                    bytes_touched=observer.bytes_touched[name],
                )
            )
    return tuple(rows)


def _weight_shape(module: nn.Module) -> tuple[int, ...] | None:
    weight = module._parameters.get("weight")
    return None if weight is None else tuple(weight.shape)
