"""Count parameters and buffers: elements of unique tensors, so that tied weights count once."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterCount:
    """Elements of unique tensors.

    Attributes:
        parameters: All.
        trainable_parameters: Those with `requires_grad`.
        buffers: Of buffers, saved in the state dict or not.
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
            parameters=sum(p.numel() for p in unique_parameters.values()),
            trainable_parameters=sum(p.numel() for p in unique_parameters.values() if p.requires_grad),
            buffers=sum(b.numel() for b in unique_buffers.values()),
        )
    return counts
