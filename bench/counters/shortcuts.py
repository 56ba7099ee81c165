"""What operations return on tensors without values, found faster than torch finds it.

Normalisations and losses of classes from their arguments' shapes: torch finds them out by up to thirty further
operations in Python, 2 to 10 ms for each shape and phase. Only plain contiguous tensors of one type are known.
Most other operations are asked of their meta kernel directly; a few of equal tensors need not be asked at all.
Everything else is left to torch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
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


def _normalise_groups(args: Sequence[Any]) -> tuple[torch.Tensor, ...] | None:
    tensor, weight, bias, batch_size, _, _, groups, _ = args
    if not _are_plain(tensor, weight, bias) or not tensor.numel():
        return None
    return torch.empty_like(tensor), *(tensor.new_empty((batch_size, groups)) for _ in range(2))


def _normalise_groups_backward(args: Sequence[Any]) -> tuple[torch.Tensor, ...] | None:
    gradient, tensor, mean, deviation, weight, *_, mask = args
    if weight is None or not all(mask) or gradient.shape != tensor.shape or not tensor.numel():
        return None
    if not _are_plain(tensor, gradient, mean, deviation, weight):
        return None
    return torch.empty_like(tensor), torch.empty_like(weight), torch.empty_like(weight)


def _normalise_layer(args: Sequence[Any]) -> tuple[torch.Tensor, ...] | None:
    tensor, shape, weight, bias = args[:4]
    if not _are_plain(tensor, weight, bias) or not tensor.numel():
        return None
    statistics = (*tensor.shape[: tensor.dim() - len(shape)], *(1 for _ in shape))
    return torch.empty_like(tensor), tensor.new_empty(statistics), tensor.new_empty(statistics)


def _normalise_layer_backward(args: Sequence[Any]) -> tuple[torch.Tensor, ...] | None:
    gradient, tensor, _, mean, deviation, weight, bias, mask = args
    if weight is None or bias is None or not all(mask) or gradient.shape != tensor.shape or not tensor.numel():
        return None
    if not _are_plain(tensor, gradient, mean, deviation, weight, bias):
        return None
    return torch.empty_like(tensor), torch.empty_like(weight), torch.empty_like(bias)


def _classify(args: Sequence[Any]) -> tuple[torch.Tensor, ...] | None:
    """Return the reduced loss of a batch of logits and the total weight."""
    logits, labels, weight, reduction, _ = args
    if weight is not None or reduction == 0 or not _are_logits(logits, labels):
        return None
    return logits.new_empty(()), logits.new_empty(())


def _classify_backward(args: Sequence[Any]) -> torch.Tensor | None:
    gradient, logits, labels, weight, reduction, _, total = args
    if weight is not None or reduction == 0 or not _are_logits(logits, labels):
        return None
    return torch.empty_like(logits) if _are_plain(logits, gradient, total) else None


def _are_logits(logits: torch.Tensor, labels: torch.Tensor) -> bool:
    return (
        logits.dim() == 2
        and _are_plain(logits)
        and labels.dtype is torch.int64
        and labels.shape == logits.shape[:1]
        and labels.device == logits.device
    )


def _log_softmax(args: Sequence[Any]) -> torch.Tensor | None:
    tensor, dim, is_widened = args
    is_known = not is_widened and _are_plain(tensor) and -tensor.dim() <= dim < tensor.dim()
    return torch.empty_like(tensor) if is_known else None


def _log_softmax_backward(args: Sequence[Any]) -> torch.Tensor | None:
    gradient, output, _, dtype = args
    is_known = gradient.shape == output.shape and dtype is output.dtype and _are_plain(gradient, output)
    return torch.empty_like(output) if is_known else None


def _add_product(args: Sequence[Any]) -> torch.Tensor | None:
    """Return a product of matrices, whatever is added to each of its rows."""
    added, left, right = args
    if not (left.dim() == right.dim() == 2 and left.shape[1] == right.shape[0] and added.shape == right.shape[1:]):
        return None
    if not left.dtype.is_floating_point or not added.dtype is left.dtype is right.dtype or not right.shape[1]:
        return None
    product: torch.Tensor = left.new_empty((left.shape[0], right.shape[1]))
    return product


def _are_plain(tensor: torch.Tensor, *others: torch.Tensor | None) -> bool:
    tensors = (tensor, *(one for one in others if one is not None))
    return (
        tensor.dim() >= 2
        and tensor.dtype is torch.float32
        and all(one.dtype is tensor.dtype and is_ordinary(one) for one in tensors)
    )


def is_ordinary(tensor: torch.Tensor) -> bool:
    """Whether a tensor lies in memory as a new one of its shape does."""
    return tensor.stride() == _strides(tensor.shape)


@functools.lru_cache(4096)
def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= max(length, 1)
    return tuple(reversed(strides))


CPU_DEVICE = torch.device(CPU)

SHORTCUTS: dict[Any, Callable[[Sequence[Any]], Any]] = {
    _aten._log_softmax.default: _log_softmax,
    _aten._log_softmax_backward_data.default: _log_softmax_backward,
    _aten._native_batch_norm_legit.default: _normalise,
    _aten.addmm.default: _add_product,
    _aten.native_batch_norm.default: _normalise,
    _aten.native_batch_norm_backward.default: _normalise_backward,
    _aten.native_group_norm.default: _normalise_groups,
    _aten.native_group_norm_backward.default: _normalise_groups_backward,
    _aten.native_layer_norm.default: _normalise_layer,
    _aten.native_layer_norm_backward.default: _normalise_layer_backward,
    _aten.nll_loss_backward.default: _classify_backward,
    _aten.nll_loss_forward.default: _classify,
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
        _aten.ones_like.default,
        _aten.permute.default,
        _aten.select.int,
        _aten.slice.Tensor,
        _aten.split.Tensor,
        _aten.squeeze.dim,
        _aten.stack.default,
        _aten.sum.dim_IntList,
        _aten.t.default,
        _aten.transpose.int,
        _aten.unbind.int,
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
    _aten.relu.default,
    _aten.sigmoid.default,
    _aten.sqrt.default,
    _aten.sub.Tensor,
    _aten.tanh.default,
    _aten.tanh_backward.default,
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


LIKE = frozenset({_aten.empty_like.default, _aten.ones_like.default, _aten.zeros_like.default})
TO_COPY = _aten._to_copy.default
EMPTY_STRIDED = _aten.empty_strided.default


def new_type(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.dtype | None:
    """Return the type of what a copy or `zeros_like` makes of an ordinary tensor; None for any other operation."""
    if not (func is TO_COPY or func in LIKE) or not is_ordinary(args[0]):
        return None
    rest = [*args[1:], *(value for name, value in kwargs.items() if name not in ("dtype", "device"))]
    is_plain = all(value is None or value is False or value in (torch.strided, torch.preserve_format) for value in rest)
    dtype: torch.dtype = kwargs.get("dtype") or args[0].dtype
    return dtype if is_plain else None


NEW = _aten.lift_fresh.default
ADD = _aten.add_.Tensor
ON_CONSTANTS = frozenset({ADD, _aten._local_scalar_dense.default})
"""What optimizers do with the number of the step, one for each parameter."""


def is_constant(args: Sequence[Any]) -> bool:
    """Whether a fake tensor has a value, and nothing else takes part but numbers."""
    return (
        type(args[0]) is FakeTensor and args[0].constant is not None and all(type(n) in (int, float) for n in args[1:])
    )
