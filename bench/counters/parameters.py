"""Count parameters and buffers: elements of unique tensors, so that tied weights count once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterCount:
    """Elements of unique tensors.

    Attributes:
        parameters: All; of quantised modules those behind packed weights too.
        trainable_parameters: Parameters with `requires_grad`.
        buffers: Elements of buffers, saved in the state dict or not.
    """

    parameters: int
    trainable_parameters: int
    buffers: int


def count_parameters(model: nn.Module) -> ParameterCount:
    """Count a model's parameters and buffers; a tensor that several modules share counts once.

    Raises:
        ValueError: A lazy parameter has no shape before the first forward pass.
    """
    layers = count_layer_parameters(model).values()
    return ParameterCount(
        parameters=sum(layer.parameters for layer in layers),
        trainable_parameters=sum(layer.trainable_parameters for layer in layers),
        buffers=sum(layer.buffers for layer in layers),
    )


def count_layer_parameters(model: nn.Module) -> dict[str, ParameterCount]:
    """Count what each module registers itself, by dotted name (`` is the model), in the model's order.

    A tensor shared with an earlier module counts 0 in the later one: the sum over all modules is the model's total.
    """
    seen: set[int] = set()
    counts = {}
    for name, module in model.named_modules():
        parameters = [p for p in module._parameters.values() if p is not None and id(p) not in seen]
        buffers = [b for b in module._buffers.values() if b is not None and id(b) not in seen]
        unique_parameters = {id(p): p for p in parameters}
        unique_buffers = {id(b): b for b in buffers}
        seen |= unique_parameters.keys() | unique_buffers.keys()
        counts[name] = ParameterCount(
            parameters=sum(p.numel() for p in unique_parameters.values()) + sum(p.numel() for p in _packed(module)),
            trainable_parameters=sum(p.numel() for p in unique_parameters.values() if p.requires_grad),
            buffers=sum(b.numel() for b in unique_buffers.values()),
        )
    return counts


def _packed(module: nn.Module) -> Iterator[torch.Tensor]:
    """Yield the weights and biases that a quantised module keeps in objects of torch's C++ side."""
    if isinstance(module, torch.jit.ScriptModule):
        return  # its own object, not packed weights
    for value in vars(module).values():
        if isinstance(value, torch.ScriptObject):
            yield from unpacked(value)


def unpacked(value: Any) -> Iterator[torch.Tensor]:
    """Yield the weights and biases behind packed weights, of recurrent layers too, which keep their biases twice."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from unpacked(item)
    elif isinstance(value, torch.ScriptObject):
        packed: Any = value  # torch does not declare its methods
        # A convolution's state holds its strides as tensors too; what it unpacks to is weight and bias.
        methods = packed._method_names()
        if "unpack" in methods:
            yield from unpacked(packed.unpack())
        elif "__getstate__" in methods:
            state = packed.__getstate__()
            inner = [part for part in torch.utils._pytree.tree_leaves(state) if isinstance(part, torch.ScriptObject)]
            yield from unpacked(inner or state)
