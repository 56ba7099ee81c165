"""What batch normalisation returns on tensors without values, from its arguments' shapes.

torch finds it out by some thirty further operations in Python, 10 ms for each shape and phase: a third of the time of
counting a ResNet. Only plain contiguous tensors of one type are known here; everything else is left to torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from bench.device.backend import CPU

_aten = torch.ops.aten


def _normalise(args: Sequence[Any]) -> tuple[torch.Tensor, ...] | None:
    """Return the output, and one mean and deviation per channel in training; at inference the CPU has none."""
    tensor, weight, bias, running_mean, running_var, is_training = args[:6]
    if running_mean is None or running_var is None or not _are_plain(tensor, weight, bias, running_mean, running_var):
        return None
    if tensor.numel() <= tensor.shape[1]:
        return None  # one value per channel has no deviation: torch says so
    if not is_training and tensor.device.type != CPU:
        return None
    channels = tensor.shape[1] if is_training else 0
    return torch.empty_like(tensor), tensor.new_empty((channels,)), tensor.new_empty((channels,))


def _normalise_backward(args: Sequence[Any]) -> tuple[torch.Tensor | None, ...] | None:
    """Return a gradient like the input, and the weight's and the bias's."""
    gradient, tensor, weight, running_mean, running_var, mean, deviation, is_training, _, mask = args
    if weight is None or not is_training or not all(mask) or gradient.shape != tensor.shape:
        return None
    if not _are_plain(tensor, gradient, weight, running_mean, running_var, mean, deviation):
        return None
    return torch.empty_like(tensor), torch.empty_like(weight), torch.empty_like(weight)


def _are_plain(tensor: torch.Tensor, *others: torch.Tensor | None) -> bool:
    tensors = (tensor, *(one for one in others if one is not None))
    return (
        tensor.dim() >= 2
        and tensor.dtype is torch.float32
        and all(one.dtype is tensor.dtype and one.stride() == _strides(one.shape) for one in tensors)
    )


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= max(length, 1)
    return tuple(reversed(strides))


SHORTCUTS: dict[Any, Callable[[Sequence[Any]], Any]] = {
    _aten.native_batch_norm.default: _normalise,
    _aten._native_batch_norm_legit.default: _normalise,
    _aten.native_batch_norm_backward.default: _normalise_backward,
}
"""By operation: its outputs from its arguments; None where torch must be asked."""
