"""Remember what operations return on meta tensors, because finding it out anew is most of a count's time.

On the meta device an operation's output is only shape, strides and type, and these follow from those of its inputs and
its other arguments. Networks repeat themselves: the 80 blocks of a large language model need one block's work. Only
operations that return new tensors, or that change their first argument in place and return it, are remembered.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

_Meta = tuple[torch.Size, tuple[int, ...], torch.dtype]
_NOT_REMEMBERED = frozenset(
    {
        torch.Tag.inplace_view,
        torch.Tag.data_dependent_output,
        torch.Tag.dynamic_output_shape,
        torch.Tag.maybe_aliasing_or_mutating,
    }
)


class MetaCache:
    """Runs operations; those on plain meta tensors once per kind of arguments."""

    def __init__(self) -> None:
        self._outputs: dict[Any, tuple[_Meta | None, ...] | _Meta] = {}
        self._in_place: set[Any] = set()

    def run(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what the operation returns."""
        kind = _kind(operation)
        key = _key((args, tuple(kwargs.items()))) if kind else None
        if key is None:
            return operation(*args, **kwargs)
        key = (operation, key)
        if key in self._in_place:
            return args[0]
        known = self._outputs.get(key)
        if known is not None:
            if isinstance(known[0], torch.Size):
                return _make(known)
            return tuple(None if one is None else _make(one) for one in known)
        output = operation(*args, **kwargs)
        if kind == "in place":
            if output is args[0]:
                self._in_place.add(key)
        elif isinstance(output, torch.Tensor):
            if _is_new(output, args):
                self._outputs[key] = _meta(output)
        elif type(output) is tuple and all(one is None or _is_new(one, args) for one in output):
            self._outputs[key] = tuple(None if one is None else _meta(one) for one in output)
        return output


@functools.cache
def _kind(operation: Any) -> str | None:
    """Say whether an operation returns new tensors (`new`), changes its first argument (`in place`), or neither."""
    if not isinstance(operation, torch._ops.OpOverload) or any(tag in _NOT_REMEMBERED for tag in operation.tags):
        return None
    arguments, returns = operation._schema.arguments, operation._schema.returns
    written = [a for a in arguments if a.alias_info is not None]
    if not written and all(r.alias_info is None and str(r.type) in ("Tensor", "Optional[Tensor]") for r in returns):
        return "new" if returns else None
    is_first = [a.name for a in written] == [arguments[0].name]
    if is_first and arguments[0].is_write and len(returns) == 1 and returns[0].alias_info is not None:
        return None if operation.overloadpacket.__name__ in ("resize_", "resize_as_", "set_") else "in place"
    return None


def _key(value: Any) -> Any:
    """Describe arguments so that equal descriptions give equal outputs; None if there is something else among them."""
    kind = type(value)
    if kind is torch.Tensor or kind is torch.nn.Parameter:
        if not value.is_meta or value.layout is not torch.strided or value.is_conj() or value.is_neg():
            return None
        return (value.shape, value.stride(), value.dtype)
    if kind is tuple or kind is list:
        parts = [_key(item) for item in value]
        return None if None in parts else tuple(parts)
    if value is None or kind in (bool, int, float, str, torch.dtype, torch.device, torch.layout, torch.memory_format):
        return (kind, value)
    return None


def _meta(tensor: torch.Tensor) -> _Meta:
    return tensor.shape, tensor.stride(), tensor.dtype


def _make(meta: _Meta) -> torch.Tensor:
    return torch.empty_strided(meta[0], meta[1], dtype=meta[2], device="meta")


def _is_new(tensor: Any, args: tuple[Any, ...]) -> bool:
    """Whether an output is a plain meta tensor with storage of its own."""
    if type(tensor) is not torch.Tensor or not tensor.is_meta or tensor.storage_offset() or tensor.is_conj():
        return False
    storage = tensor.untyped_storage()._cdata
    inputs = (leaf for leaf in torch.utils._pytree.tree_leaves(args) if isinstance(leaf, torch.Tensor))
    return all(one.untyped_storage()._cdata != storage for one in inputs)
