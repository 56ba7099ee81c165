"""The tensors that operations take and return, and the storages below them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

layout_of = torch.Tensor.layout.__get__  # type: ignore[attr-defined]
"""The layout; fake tensors take a long way round to the same."""


def tensors_in(value: Any) -> list[torch.Tensor]:
    """List what operations take and return: tuples, lists, dicts. Faster than `batch.tensors_in`, which opens more."""
    found: list[torch.Tensor] = []
    _collect((value,), found)
    return found


def _collect(values: Iterable[Any], found: list[torch.Tensor]) -> None:
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            _collect(value, found)
        elif isinstance(value, dict):
            _collect(value.values(), found)


def storages_of(tensor: torch.Tensor) -> Iterable[torch.UntypedStorage]:
    """Return the storages of a tensor: of a sparse one those of its indices and values; mkldnn's are hidden."""
    if layout_of(tensor) is torch.strided:
        return (tensor.untyped_storage(),)
    with _disable_current_modes():  # reading a part is an operation, and nobody's
        return [part.untyped_storage() for part in _parts(tensor)]


def _parts(tensor: Any) -> tuple[torch.Tensor, ...]:
    if tensor.layout is torch.sparse_coo:
        return tensor._indices(), tensor._values()
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return tensor.crow_indices(), tensor.col_indices(), tensor.values()
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return tensor.ccol_indices(), tensor.row_indices(), tensor.values()
    if tensor.layout is torch.jagged:
        return tensor.values(), tensor.offsets()
    return ()
