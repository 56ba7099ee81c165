# ruff: noqa: ARG001 - a formula has its operation's signature
"""FLOPs of matrix and vector products: 2 per multiply-accumulate, so 2 x rows x inner x columns.

Of a sparse operand only stored entries are multiplied; a complex multiply-accumulate is 8 FLOPs, 4 with a real factor.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor

from bench.counters.formulas.cost import Cost, matched, per_product, stored


def product(a: Tensor, b: Tensor, *_: Any, **__: Any) -> Cost:
    """`(..., M, K) @ (..., K, N)`: 2 MKN per batch; `mm`, `bmm`, scaled, integer and reduced sparse products.

    A sparse operand meets the other's rows or columns with its stored entries; of two, those that match meet.
    """
    plain = 2 * a.numel() * b.shape[-1]
    if a.layout is torch.strided and b.layout is torch.strided:
        pairs = a.numel() * b.shape[-1]
    elif b.layout is torch.strided:
        pairs = stored(a) * b.shape[-1]
    elif a.layout is torch.strided:
        pairs = stored(b) * a.shape[-2]
    else:
        pairs = matched(a, b)
    flops = per_product(a, b) * pairs
    return Cost(flops, flops, plain)


def added_product(_: Tensor, a: Tensor, b: Tensor, *__: Any, **___: Any) -> Cost:
    """`addmm`, `baddbmm`, `addbmm`: the product; adding the bias is pointwise (torch lacks `addbmm`)."""
    return product(a, b)


def reduced_product_backward(
    a: Tensor, grad: Tensor, b: Tensor, reduce: str, indices: Any, output_mask: list[bool], **_: Any
) -> int:
    """One product for the gradient of the stored entries and one for the dense operand's, each if asked for."""
    return per_product(a, b) * stored(a) * b.shape[-1] * (bool(output_mask[0]) + bool(output_mask[1]))


def sampled_product(pattern: Tensor, a: Tensor, b: Tensor, **_: Any) -> Cost:
    """`sparse.sampled_addmm`: an inner product of length K for each stored entry of the pattern."""
    flops = per_product(a, b) * stored(pattern) * a.shape[-1]
    return Cost(flops, flops, 2 * a.numel() * b.shape[-1])


def matrix_vector(matrix: Tensor, vector: Tensor, **_: Any) -> Cost:
    """`(M, K) @ (K,)`: 2 MK; torch has no formula."""
    flops = per_product(matrix, vector) * stored(matrix)
    return Cost(flops, flops, 2 * matrix.numel())


def added_matrix_vector(_: Tensor, matrix: Tensor, vector: Tensor, **__: Any) -> Cost:
    """`addmv`: 2 MK; torch has no formula."""
    return matrix_vector(matrix, vector)


def inner_product(a: Tensor, b: Tensor, **_: Any) -> int:
    """`dot`, `vdot`: 2 K; torch has no formula."""
    return per_product(a, b) * a.numel()


def rows_times_weight(x: Tensor, *_: Any, output: Tensor, **__: Any) -> int:
    """`(..., K) -> (..., N)`: 2 numel(x) N, with N from the output because the weight may be packed.

    For `linear` (reached whole on nested and mkldnn tensors), its quantized forms and packed-weight products.
    """
    columns: int = output.shape[-1]
    if x.is_nested:
        elements: int = sum(prod(size) for size in x._nested_tensor_size().tolist())
        return 2 * elements * columns
    return per_product(x, output) * stored(x) * columns  # a complex output is of a complex weight or input


def linear_backward(x: Tensor, grad: Tensor, weight: Tensor, output_mask: list[bool], **_: Any) -> int:
    """One product of the forward's size for the input's gradient and one for the weight's, each if asked for."""
    return 2 * x.numel() * weight.shape[0] * (bool(output_mask[0]) + bool(output_mask[1]))


def grouped_product(a: Tensor, b: Tensor, *_: Any, **__: Any) -> int:
    """Products of groups of rows (or columns, or inner slices), one matrix per group.

    `(M, K) x (G, K, N)`: each row meets one matrix, 2 MKN. `(G, M, K) x (K, N)`: each column belongs to one group,
    2 MKN. `(M, K) x (K, N)`: the inner dimension is cut into groups, 2 MKN. `(G, M, K) x (G, K, N)`: 2 GMKN.
    """
    if a.dim() == 3 and b.dim() == 2:
        return 2 * b.numel() * a.shape[-2]
    return 2 * a.numel() * b.shape[-1]


def trilinear(
    i1: Tensor,
    i2: Tensor,
    i3: Tensor,
    expand1: list[int],
    expand2: list[int],
    expand3: list[int],
    sumdim: list[int],
    unroll_dim: int = 1,
    **_: Any,
) -> int:
    """`sum(i1 * i2 * i3)` over `sumdim`, as the kernel does it: two batched products, one after the other.

    The first multiplies i1 and i2 and sums what i3 does not have; the second brings in i3 and sums the rest. For
    `nn.Bilinear(I, J, O)` on N rows that is 2 N O I J for `x1 W` and 2 N O J for `(x1 W) x2`. Its backward calls
    this operation once per gradient. torch has no formula.
    """
    dims = i1.dim() + len(expand1)
    sizes, present = [1] * dims, []
    for tensor, expanded in ((i1, expand1), (i2, expand2), (i3, expand3)):
        own = [dim for dim in range(dims) if dim not in expanded]
        present.append(set(own))
        for dim, size in zip(own, tensor.shape, strict=True):
            sizes[dim] = max(sizes[dim], size)
    first = present[0] | present[1]
    kept = first - {dim for dim in sumdim if dim in expand3}
    between = i1 if i1.is_complex() else i2
    one = per_product(i1, i2) * prod(sizes[dim] for dim in first)
    return one + per_product(between, i3) * prod(sizes[dim] for dim in kept | present[2])


def distances(x1: Tensor, x2: Tensor, *_: Any, **__: Any) -> int:
    """`cdist` of `(..., P, M)` and `(..., R, M)`: one accumulation per element of each pair, 2 PRM.

    The Euclidean kernel is a product with the squared norms appended, `[-2 x1, |x1|^2, 1] @ [x2, 1, |x2|^2]^T`; the
    mathematics needs M of its M + 2 columns. torch has no formula.
    """
    return 2 * x1.numel() * x2.shape[-2]


def euclidean_distances(x1: Tensor, x2: Tensor) -> Cost:
    """As `distances`; the kernel executes a product with M + 2 inner columns."""
    rows = x1.numel() // max(x1.shape[-1], 1)
    return Cost(distances(x1, x2), 2 * rows * x2.shape[-2] * (x1.shape[-1] + 2))


def distances_backward(_: Tensor, x1: Tensor, x2: Tensor, *__: Any, **___: Any) -> int:
    """One gradient of `cdist`, the first input's: as much as its forward; the second is a call of its own."""
    return distances(x1, x2)


def distances_within(x: Tensor, *_: Any, **__: Any) -> int:
    """`pdist` of `(P, M)`: 2 M for each of the P (P - 1) / 2 pairs. torch has no formula."""
    return x.numel() * (x.shape[0] - 1)


def distances_within_backward(_: Tensor, x: Tensor, *__: Any, **___: Any) -> int:
    """Each pair moves both of its points: twice the forward."""
    return 2 * distances_within(x)


_PLAIN: dict[Callable[..., int | Cost], str] = {
    product: "mm bmm _int_mm _scaled_mm _scaled_mm_v2 _sparse_sparse_matmul hspmm _sparse_mm_reduce_impl",
    reduced_product_backward: "_sparse_mm_reduce_impl_backward",
    sampled_product: "sparse_sampled_addmm",
    added_product: "addmm addmm_ _addmm_activation _sparse_addmm baddbmm baddbmm_ addbmm addbmm_ sspaddmm",
    matrix_vector: "mv",
    added_matrix_vector: "addmv addmv_",
    inner_product: "dot vdot",
    linear_backward: "linear_backward",
    grouped_product: "_grouped_mm _scaled_grouped_mm _scaled_grouped_mm_v2",
    trilinear: "_trilinear",
    distances: "_cdist_forward",
    distances_within: "_pdist_forward",
    distances_within_backward: "_pdist_backward",
    euclidean_distances: "_euclidean_dist",
    distances_backward: "_cdist_backward",
}
_WITH_OUTPUT = (
    "linear mkldnn_linear _weight_int8pack_mm _weight_int4pack_mm _weight_int4pack_mm_for_cpu "
    "quantized::linear quantized::linear_relu quantized::linear_dynamic quantized::linear_relu_dynamic"
)
FORMULAS: dict[str, tuple[Callable[..., int | Cost], bool]] = {
    **{name: (formula, False) for formula, names in _PLAIN.items() for name in names.split()},
    **dict.fromkeys(_WITH_OUTPUT.split(), (rows_times_weight, True)),
}
