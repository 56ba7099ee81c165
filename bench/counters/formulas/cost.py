"""What one operation costs, and which gradients its backward was asked for."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch


class Cost(NamedTuple):
    """FLOPs of one operation.

    Attributes:
        flops: What the mathematics needs.
        executed: What the kernel does; more where it recomputes something that it did not keep.
    """

    flops: int
    executed: int


def asked_gradients(inputs: int) -> tuple[bool, ...]:
    """Tell which of the first `inputs` tensor inputs of the current backward node want a gradient.

    Fused backward operations return every gradient, whether or not it was asked for; autograd's graph knows: an input
    that needs none has no edge. Outside autograd, every gradient counts as asked for.
    """
    node: Any = torch._C._current_autograd_node()
    edges = () if node is None else node.next_functions
    if len(edges) < inputs:
        return (True,) * inputs
    return tuple(function is not None for function, _ in edges[:inputs])
