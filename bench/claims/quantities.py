"""What a claim can be about, and how each quantity is read from `Counters`; a count that is not sure is not read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bench.core.claim import ClaimValue
from bench.core.record import Counters, LayerCount
from bench.core.text import nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A measured value, or None with the reason why there is none."""

    value: ClaimValue | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """Something that documents state of a model or a layer.

    Attributes:
        meaning: Meaning in words, with the unit and the convention.
        is_shape: The value is a shape, not a number.
        needs_layer: It makes sense for one layer only.
    """

    meaning: str
    is_shape: bool = False
    needs_layer: bool = False


QUANTITIES: dict[str, Quantity] = {
    "parameters": Quantity(meaning="elements of all parameters, tied tensors once"),
    "trainable_parameters": Quantity(meaning="elements of the parameters that require gradients, tied tensors once"),
    "buffers": Quantity(meaning="elements of all buffers"),
    "kernel_weights": Quantity(
        meaning="weights of one kernel, without bias: input channels x height x width", needs_layer=True
    ),
    "input_features": Quantity(meaning="features of one example that enter a linear layer", needs_layer=True),
    "output_shape": Quantity(meaning="shape of the output, batch included", is_shape=True),
    "output_elements": Quantity(meaning="elements of the output for one example"),
    "flops_forward": Quantity(meaning="floating-point operations of one forward pass for one example; 1 MAC = 2"),
    "macs_forward": Quantity(
        meaning="multiply-accumulates of one forward pass for one example: half the FLOPs, as 1 MAC = 2 FLOPs"
    ),
}
"""Every quantity a claim may name. Operations are those of infer mode, so that training-only heads do not count."""


def read(counters: Counters, batch_size: int, layer: str | None, quantity: str) -> Reading:
    """Read one of `QUANTITIES` of a model (layer None), or of one layer with everything inside it."""
    if quantity in ("flops_forward", "macs_forward") and counters.flops is not None and counters.flops.is_lower_bound:
        names = ", ".join(name for name, _ in counters.flops.uncounted)
        return Reading(value=None, reason=f"only a lower bound of the FLOPs is known: no formula for {names}")
    if layer is None:
        return _read_model(counters, batch_size, quantity)
    own = next((row for row in counters.layers if row.name == layer), None)
    if own is None:
        return Reading(value=None, reason=_no_such_layer(counters, layer))
    inside = [row for row in counters.layers if row.name == layer or row.name.startswith(f"{layer}.")]
    return _LAYER_READERS[quantity](own, inside, batch_size)


def _read_model(counters: Counters, batch_size: int, quantity: str) -> Reading:
    if quantity in ("parameters", "trainable_parameters", "buffers"):
        count: int | None = getattr(counters, quantity)
        return Reading(value=count, reason="" if count is not None else f"{quantity} were not counted")
    if quantity in ("flops_forward", "macs_forward"):
        flops = counters.flops
        if flops is None or flops.forward is None:
            return Reading(value=None, reason="FLOPs were not counted")
        return _operations(flops.forward, batch_size, quantity)
    root = next((row for row in counters.layers if row.name == ""), None)
    if root is None:
        return Reading(value=None, reason="the model's own output was not recorded")
    return _LAYER_READERS[quantity](root, [root], batch_size)


def _sum(attribute: str) -> Callable[[LayerCount, list[LayerCount], int], Reading]:
    def reader(_own: LayerCount, inside: list[LayerCount], _batch_size: int) -> Reading:
        return Reading(value=sum(getattr(row, attribute) for row in inside))

    return reader


def _layer_operations(quantity: str) -> Callable[[LayerCount, list[LayerCount], int], Reading]:
    def reader(_own: LayerCount, inside: list[LayerCount], batch_size: int) -> Reading:
        counts = [row.flops_forward for row in inside if row.flops_forward is not None]
        if len(counts) < len(inside):
            return Reading(value=None, reason="the layer's FLOPs were not counted")
        return _operations(sum(counts), batch_size, quantity)

    return reader


def _operations(flops: int, batch_size: int, quantity: str) -> Reading:
    """Share FLOPs among the examples; an int wherever it divides evenly, so that exact claims stay exact."""
    divisor = batch_size * (2 if quantity == "macs_forward" else 1)
    return Reading(value=flops // divisor if flops % divisor == 0 else flops / divisor)


def _output_shape(own: LayerCount, _inside: list[LayerCount], _batch_size: int) -> Reading:
    if own.output_shape is None:
        return Reading(value=None, reason="the output's shape was not recorded")
    return Reading(value=own.output_shape)


def _output_elements(own: LayerCount, _inside: list[LayerCount], batch_size: int) -> Reading:
    if own.output_shape is None:
        return Reading(value=None, reason="the output's shape was not recorded")
    elements = math.prod(own.output_shape)
    return Reading(value=elements // batch_size if elements % batch_size == 0 else elements / batch_size)


def _kernel_weights(own: LayerCount, _inside: list[LayerCount], _batch_size: int) -> Reading:
    if own.weight_shape is None:
        return Reading(value=None, reason=f"no weight of the {own.type} was recorded")
    if len(own.weight_shape) < 2:
        return Reading(value=None, reason=f"the weight of a {own.type} is not made of kernels")
    return Reading(value=math.prod(own.weight_shape[1:]))


def _input_features(own: LayerCount, _inside: list[LayerCount], _batch_size: int) -> Reading:
    if own.weight_shape is None:
        return Reading(value=None, reason=f"no weight of the {own.type} was recorded")
    if len(own.weight_shape) != 2:
        return Reading(value=None, reason=f"a {own.type} is not a linear layer")
    return Reading(value=own.weight_shape[1])


def _no_such_layer(counters: Counters, layer: str) -> str:
    if not counters.layers:
        return "no layer was counted"
    names = [row.name for row in counters.layers if row.name]
    close = nearest(layer, names)
    return f"the model has no layer {layer!r}" + (f"; did you mean {close!r}?" if close else "")


_LAYER_READERS: dict[str, Callable[[LayerCount, list[LayerCount], int], Reading]] = {
    "parameters": _sum("parameters"),
    "trainable_parameters": _sum("trainable_parameters"),
    "buffers": _sum("buffers"),
    "kernel_weights": _kernel_weights,
    "input_features": _input_features,
    "output_shape": _output_shape,
    "output_elements": _output_elements,
    "flops_forward": _layer_operations("flops_forward"),
    "macs_forward": _layer_operations("macs_forward"),
}
