# ruff: noqa: ARG001 - a formula has its operation's signature
"""FLOPs of convolutions: every weight meets every position once per example.

A weight of shape `(C_out, C_in / groups, *kernel)` is used once per position of the output map (of the input map, if
transposed), so one pass is 2 x batch x positions x numel(weight). Groups need no term of their own: the weight is
smaller by them. Padding counts as if it were data.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from torch import Tensor

from bench.counters.formulas.cost import Cost
from bench.counters.parameters import unpacked


def passes(positions: Tensor, weight: Tensor) -> int:
    """2 x batch x spatial positions x numel(weight), for a map of shape `(B, C, *spatial)`."""
    return 2 * positions.shape[0] * prod(positions.shape[2:]) * weight.numel()


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    *_: Any,
    output: Tensor,
    **__: Any,
) -> int:
    """One pass over the output map, or over the input map of a transposed convolution."""
    return passes(x if transposed else output, weight)


def plain_convolution(x: Tensor, weight: Tensor, *_: Any, output: Tensor, **__: Any) -> int:
    """A convolution that is never transposed: a backend's own, or that of the columns that a deformable one gathers."""
    return passes(output, weight)


def transposed_convolution(x: Tensor, weight: Tensor, *_: Any, **__: Any) -> int:
    """A backend's own transposed convolution."""
    return passes(x, weight)


def convolution_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    output_mask: list[bool],
    **_: Any,
) -> Cost:
    """One pass per gradient asked for: input (`output_mask[0]`) and weight (`output_mask[1]`).

    Each multiply-accumulate of the forward, `y[p] += w * x[q]`, returns once in each: `dx[q] += w * dy[p]` and
    `dw += x[q] * dy[p]`. So each costs the forward's 2 x batch x positions x numel(weight), whatever the groups.
    torch's formula computes the weight gradient as a convolution of `C_in` with `C_out` channels and forgets that
    groups meet only each other: it is too high by the number of groups, 20.7 times for efficientnet_b0.
    """
    one = passes(x if transposed else grad, weight)
    flops = one * (bool(output_mask[0]) + bool(output_mask[1]))
    return Cost(flops, flops, one * (bool(output_mask[0]) + groups * bool(output_mask[1])))


def deformable_convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, *_: Any, **__: Any) -> int:
    """Two passes: gradients of the columns and of the weight, which the kernel always makes."""
    return 2 * passes(grad, weight)


def convolution_over_time(x: Tensor, weight: Tensor, *_: Any, output: Tensor, **__: Any) -> int:
    """`conv_tbc`: output `(T, B, C_out)`, weight `(kernel, C_in, C_out)`: 2 T B numel(weight)."""
    return 2 * output.shape[0] * output.shape[1] * weight.numel()


def convolution_over_time_backward(grad: Tensor, x: Tensor, weight: Tensor, *_: Any, **__: Any) -> int:
    """Two passes: `conv_tbc_backward` has no mask and makes both gradients."""
    return 2 * 2 * grad.shape[0] * grad.shape[1] * weight.numel()


def quantized_convolution(x: Tensor, packed: Any, *args: Any, output: Tensor, **_: Any) -> int:
    """One pass of the weight behind its packed form."""
    return passes(output, next(unpacked(packed)))


FORMULAS: dict[str, tuple[Callable[..., int | Cost], bool]] = {
    **dict.fromkeys(("convolution", "_convolution", "convolution_overrideable"), (convolution, True)),
    **dict.fromkeys(
        (
            "cudnn_convolution",
            "cudnn_convolution_relu",
            "cudnn_convolution_add_relu",
            "miopen_convolution",
            "miopen_depthwise_convolution",
            "mkldnn_convolution",
            "_slow_conv2d_forward",
            "_conv_depthwise2d",
            "slow_conv3d_forward",
            "torchvision::deform_conv2d",
        ),
        (plain_convolution, True),
    ),
    **dict.fromkeys(
        ("cudnn_convolution_transpose", "miopen_convolution_transpose", "slow_conv_transpose2d"),
        (transposed_convolution, False),
    ),
    "convolution_backward": (convolution_backward, False),
    "torchvision::_deform_conv2d_backward": (deformable_convolution_backward, False),
    **dict.fromkeys(
        [f"quantized::conv{dims}d{relu}" for dims in (1, 2, 3) for relu in ("", "_relu")], (quantized_convolution, True)
    ),
    "conv_tbc": (convolution_over_time, True),
    "conv_tbc_backward": (convolution_over_time_backward, False),
}
