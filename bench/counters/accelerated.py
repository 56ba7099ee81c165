"""Attention and dropout on fake CPU tensors as an accelerator runs them: its fused kernels keep far less for backward.

On the CPU, attention with dropout keeps matrices of every query with every key, and dropout a mask of floats. CUDA's
kernels draw dropout inside attention, and keep a mask of one byte per value (`native_dropout`, ATen's Dropout.cpp).
Read in torch's sources, not measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_LARGEST_HEAD = 256
HALVES = (torch.float16, torch.bfloat16)


class AcceleratedMode(TorchFunctionMode):
    """Calls an accelerator's operations where the CPU's functions would take others."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace attention and dropout; everything else runs as it is."""
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        if func is functional.dropout:
            return _dropout(*args, **kwargs)
        return func(*args, **kwargs)


def _dropout(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:  # noqa: A002
    if not training or inplace or not 0 < p < 1:
        return functional.dropout(input, p, training, inplace)
    return torch.native_dropout(input, p, True)[0]


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Choose the kernel as CUDA does: flash for half precision without a mask, else the memory-efficient one."""
    if torch.is_autocast_enabled("cpu"):  # these operations stand in no list of autocast
        dtype = torch.get_autocast_dtype("cpu")
        query, key, value = (one.to(dtype) if one.is_floating_point() else one for one in (query, key, value))
    heads = {one.shape[-1] for one in (query, key, value)}
    is_fused = query.dim() == 4 and len(heads) == 1 and max(heads) <= _LARGEST_HEAD and not enable_gqa
    if not is_fused or query.dtype not in (*HALVES, torch.float32):
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    kernels = torch.ops.aten
    if attn_mask is None and query.dtype in HALVES:
        found = kernels._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, scale=scale)
    else:
        shape = (*query.shape[:3], key.shape[2])
        bias = None if attn_mask is None else _bias(attn_mask, query.dtype).expand(shape)
        keeps = any(one.requires_grad for one in (query, key, value))
        found = kernels._scaled_dot_product_efficient_attention(
            query, key, value, bias, keeps, dropout_p, is_causal, scale=scale
        )
    out: torch.Tensor = found[0]
    return out


def _bias(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, -torch.inf) if mask.dtype is torch.bool else mask
