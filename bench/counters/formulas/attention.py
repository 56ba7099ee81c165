# ruff: noqa: ARG001 - a formula has its operation's signature
"""FLOPs of attention: scores `Q K^T` and mixture `P V`, 2 B N T S (Dq + Dv) for T queries and S keys of N heads.

Keys and values with fewer heads (grouped queries) are shared, not saved: every query head meets every key. Masks,
causal or not, save nothing by convention: the product is dense.

Backward is four products, each as large as one of the forward's: dV = P^T dO and dP = dO V^T (as `P V`), dQ = dS K and
dK = dS^T Q (as `Q K^T`): twice the forward when all three gradients are asked for. Fused kernels do not keep P and
compute the scores again: that fifth product is executed, but it is not the model's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.counters.formulas.cost import Cost, asked_gradients


def _two_products(query: Tensor, key: Tensor, value: Tensor) -> tuple[int, int]:
    """FLOPs of `Q K^T` and of `P V` for `(B, N, T, D)` tensors."""
    pairs = 2 * query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2]
    return pairs * query.shape[3], pairs * value.shape[3]


def _backward(scores: int, mixture: int, asked: tuple[bool, ...]) -> Cost:
    """Four products, those asked for; the kernel does all four and the scores again."""
    query, key, value = asked[:3]
    flops = mixture * value + (mixture if query or key else 0) + scores * (query + key)
    return Cost(flops, 3 * scores + 2 * mixture)


def attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Fused attention, forward."""
    return sum(_two_products(query, key, value))


def attention_backward(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Cost:
    """Fused attention, backward; torch counts the recomputed scores as the model's (2.5 times the forward)."""
    return _backward(*_two_products(query, key, value), asked_gradients(3))


def _packed_pairs(offsets_q: Tensor | None, offsets_k: Tensor | None, longest_q: Any, longest_k: Any) -> int:
    """Sum T x S over packed sequences; where offsets hold no numbers (meta), every sequence counts as the longest."""
    assert offsets_q is not None
    offsets_k = offsets_q if offsets_k is None else offsets_k
    is_readable = not (offsets_q.is_meta or isinstance(offsets_q, torch._subclasses.FakeTensor))
    if is_readable:
        return int((offsets_q.diff().long() * offsets_k.diff().long()).sum())
    return (offsets_q.shape[0] - 1) * int(longest_q) * int(longest_k)


def _token_major(query: Tensor, key: Tensor, value: Tensor, packing: tuple[Any, ...]) -> tuple[int, int]:
    """FLOPs of both products for `(B, T, N, D)` tensors, or for packed sequences, `(1, tokens, N, D)` or without 1."""
    offsets_q, offsets_k, longest_q, longest_k = packing
    heads = query.shape[-2]
    if offsets_q is None:
        pairs = 2 * query.shape[0] * heads * query.shape[1] * key.shape[1]
    else:
        pairs = 2 * heads * _packed_pairs(offsets_q, offsets_k, longest_q, longest_k)
    return pairs * query.shape[-1], pairs * value.shape[-1]


def flash_forward(query: Tensor, key: Tensor, value: Tensor, *packing: Any, **_: Any) -> int:
    """`_flash_attention_forward`, also of packed sequences."""
    return sum(_token_major(query, key, value, packing[:4]))


def flash_forward_in_place(out: Tensor, query: Tensor, key: Tensor, value: Tensor, *packing: Any, **_: Any) -> int:
    """`_flash_attention_forward_no_dropout_inplace`."""
    return sum(_token_major(query, key, value, packing[:4]))


def flash_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Any, logsumexp: Any, *packing: Any, **_: Any
) -> Cost:
    """`_flash_attention_backward`."""
    return _backward(*_token_major(query, key, value, packing[:4]), asked_gradients(3))


def efficient_forward(query: Tensor, key: Tensor, value: Tensor, bias: Any, *packing: Any, **_: Any) -> int:
    """`_efficient_attention_forward`, also of packed sequences."""
    return sum(_token_major(query, key, value, packing[:4]))


def efficient_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, bias: Any, out: Any, *packing: Any, **_: Any
) -> Cost:
    """`_efficient_attention_backward`."""
    return _backward(*_token_major(query, key, value, packing[:4]), asked_gradients(3))


def flex_backward(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Cost:
    """`flex_attention`, backward; dense, like every mask."""
    return _backward(*_two_products(query, key, value), (True, True, True))


def _multi_head(query: Tensor, key: Tensor, width: int) -> int:
    """Projections of queries, keys, values and output, and the attention between them; `(B, T, D)` or nested."""
    if query.is_nested:
        lengths = [int(size[0]) for size in query._nested_tensor_size().tolist()]
        tokens = sources = sum(lengths)
        pairs = sum(length * length for length in lengths)
    else:
        tokens, sources = query.shape[0] * query.shape[1], key.shape[0] * key.shape[1]
        pairs = query.shape[0] * query.shape[1] * key.shape[1]
    return 2 * width * width * (2 * tokens + 2 * sources) + 4 * pairs * width


def native_multi_head(query: Tensor, key: Tensor, value: Tensor, embed_dim: int, *_: Any, **__: Any) -> int:
    """The fast path of `nn.MultiheadAttention` in eval mode, as a whole: 4 B D (T + S) D + 4 B T S D.

    torch has no formula and counts 0.
    """
    return _multi_head(query, key, embed_dim)


def native_encoder_layer(src: Tensor, embed_dim: int, *args: Any, **_: Any) -> int:
    """The fast path of `nn.TransformerEncoderLayer` in eval mode: attention and the two feed-forward products.

    torch has no formula and counts 0. Padding that a nested tensor left out is not counted.
    """
    feed_forward_weight: Tensor = args[12]  # (F, D)
    if src.is_nested:
        tokens = sum(int(size[0]) for size in src._nested_tensor_size().tolist())
    else:
        tokens = src.shape[0] * src.shape[1]
    return _multi_head(src, src, embed_dim) + 2 * 2 * tokens * feed_forward_weight.numel()


FORMULAS: dict[str, tuple[Callable[..., int | Cost], bool]] = {
    "_scaled_dot_product_efficient_attention": (attention, False),
    "_scaled_dot_product_flash_attention": (attention, False),
    "_scaled_dot_product_flash_attention_for_cpu": (attention, False),
    "_scaled_dot_product_cudnn_attention": (attention, False),
    "_scaled_dot_product_fused_attention_overrideable": (attention, False),
    "_scaled_dot_product_efficient_attention_backward": (attention_backward, False),
    "_scaled_dot_product_flash_attention_backward": (attention_backward, False),
    "_scaled_dot_product_flash_attention_for_cpu_backward": (attention_backward, False),
    "_scaled_dot_product_cudnn_attention_backward": (attention_backward, False),
    "_scaled_dot_product_fused_attention_overrideable_backward": (attention_backward, False),
    "_flash_attention_forward": (flash_forward, False),
    "_flash_attention_forward_no_dropout_inplace": (flash_forward_in_place, False),
    "_flash_attention_backward": (flash_backward, False),
    "_efficient_attention_forward": (efficient_forward, False),
    "_efficient_attention_backward": (efficient_backward, False),
    "_native_multi_head_attention": (native_multi_head, False),
    "_transformer_encoder_layer_fwd": (native_encoder_layer, False),
}
HIGHER_ORDER: dict[str, Callable[..., int | Cost]] = {
    "flex_attention": attention,
    "flex_attention_backward": flex_backward,
}
