"""What operations return on tensors without values, found faster than torch finds it.

Batch normalisation from its arguments' shapes: torch finds it out by some thirty further operations in Python, 10 ms
for each shape and phase, a third of the time of counting a ResNet. Only plain contiguous tensors of one type are known.
Most other operations are asked of their meta kernel directly; a few of equal tensors need not be asked at all.
Everything else is left to torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._subclasses.fake_impls import op_implementations_dict
from torch._subclasses.fake_tensor import FakeTensor

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


CPU_DEVICE = torch.device(CPU)

SHORTCUTS: dict[Any, Callable[[Sequence[Any]], Any]] = {
    _aten.native_batch_norm.default: _normalise,
    _aten._native_batch_norm_legit.default: _normalise,
    _aten.native_batch_norm_backward.default: _normalise_backward,
}
"""By operation: its outputs from its arguments; None where torch must be asked."""


_DIRECT = frozenset(
    {
        _aten._softmax.default,
        _aten._softmax_backward_data.default,
        _aten._to_copy.default,
        _aten._unsafe_view.default,
        _aten.addmm.default,
        _aten.bmm.default,
        _aten.cat.default,
        _aten.detach.default,
        _aten.empty_like.default,
        _aten.expand.default,
        _aten.mean.dim,
        _aten.mm.default,
        _aten.new_empty.default,
        _aten.new_zeros.default,
        _aten.permute.default,
        _aten.split.Tensor,
        _aten.sum.dim_IntList,
        _aten.t.default,
        _aten.transpose.int,
        _aten.unsqueeze.default,
        _aten.view.default,
        _aten.zeros_like.default,
    }
)
"""Beside the pointwise ones: operations of which a fake tensor learns no more than the meta kernel says."""


@functools.cache
def is_direct(operation: Any) -> bool:
    """Whether only the meta kernel decides what an operation returns: torch has no fake implementation beside it."""
    return operation in _DIRECT or (
        isinstance(operation, torch._ops.OpOverload)
        and operation.namespace == "aten"
        and torch.Tag.pointwise in operation.tags
        and operation not in op_implementations_dict
    )


def are_on_cpu(values: Any) -> bool:
    """Whether all fake tensors among these values are of the CPU."""
    return all(
        are_on_cpu(value)
        if isinstance(value, tuple | list)
        else getattr(value, "_fake_device", CPU_DEVICE) == CPU_DEVICE
        for value in values
    )


IN_PLACE = frozenset(
    {
        _aten.add_.Tensor,
        _aten.addcdiv_.default,
        _aten.addcmul_.default,
        _aten.div_.Tensor,
        _aten.lerp_.Scalar,
        _aten.mul_.Tensor,
        _aten.sub_.Tensor,
    }
)
KEEPS_TYPE = IN_PLACE | {
    _aten.add.Tensor,
    _aten.div.Tensor,
    _aten.mul.Tensor,
    _aten.sqrt.default,
    _aten.sub.Tensor,
    _aten.threshold_backward.default,
}
"""Pointwise operations that return of equal tensors of real numbers another one like them."""


def are_alike(args: Sequence[Any]) -> bool:
    """Whether all tensors are contiguous and of one shape and one type with a point, and all else real numbers."""
    first = args[0]
    if not isinstance(first, torch.Tensor) or not first.dtype.is_floating_point:
        return False
    return all(
        value.shape == first.shape and value.dtype is first.dtype and value.is_contiguous()
        if isinstance(value, torch.Tensor)
        else type(value) in (int, float, bool)
        for value in args
    )


NEW = _aten.lift_fresh.default
ADD = _aten.add_.Tensor
ON_CONSTANTS = frozenset({ADD, _aten._local_scalar_dense.default})
"""What optimizers do with the number of the step, one for each parameter."""


def is_constant(args: Sequence[Any]) -> bool:
    """Whether a fake tensor has a value, and nothing else takes part but numbers."""
    return (
        type(args[0]) is FakeTensor and args[0].constant is not None and all(type(n) in (int, float) for n in args[1:])
    )
