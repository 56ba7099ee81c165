"""What one operation costs, how many elements its operands store, and which gradients its backward was asked for."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch


class Cost(NamedTuple):
    """FLOPs of one operation.

    Attributes:
        flops: What the mathematics needs.
        executed: What the kernel does; more where it recomputes something that it did not keep.
        plain: What torch's own formula is known to say where it differs: it takes every tensor for dense and real, and
            multiplies a weight gradient by its groups. None is `flops`.
    """

    flops: int
    executed: int
    plain: int | None = None


_PER_PRODUCT = (2, 4, 8)
"""FLOPs of a multiply-accumulate by how many of its factors are complex: 4 products and 4 sums of two complex ones."""


def per_product(*factors: Any) -> int:
    """Return the FLOPs of one multiply-accumulate of elements of these tensors."""
    return _PER_PRODUCT[sum(factor.is_complex() for factor in factors)]


def stored(tensor: torch.Tensor) -> int:
    """Count the elements that a tensor stores: of a sparse one its entries, of blocks all that is in them.

    Raises:
        NotImplementedError: A sparse tensor without numbers does not know how many entries it has.
    """
    if tensor.layout is torch.strided:
        return tensor.numel()
    if tensor.is_meta or isinstance(tensor, torch._subclasses.FakeTensor):
        raise NotImplementedError("a sparse tensor has as many entries as its values say, and this one has no values")
    values = tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()
    return values.numel()


def matched(a: torch.Tensor, b: torch.Tensor) -> int:
    """Count the pairs of stored entries that meet in the product of two sparse matrices."""
    stored(a), stored(b)  # refuses what has no values
    columns = a.to_sparse_coo()._indices()[1].bincount(minlength=a.shape[1])  # type: ignore[no-untyped-call]
    rows = b.to_sparse_coo()._indices()[0].bincount(minlength=b.shape[0])  # type: ignore[no-untyped-call]
    return int((columns * rows).sum())


def asked_gradients(inputs: int) -> tuple[bool, ...]:
    """Return which of the first `inputs` tensor inputs of the current backward node want a gradient.

    Fused backward operations return every gradient, whether or not it was asked for; autograd's graph knows: an input
    that needs none has no edge. Outside autograd, every gradient counts as asked for.
    """
    node: Any = torch._C._current_autograd_node()
    edges = () if node is None else node.next_functions
    if len(edges) < inputs:
        return (True,) * inputs
    return tuple(function is not None for function, _ in edges[:inputs])
