"""One walk through nested values: batches, outputs, caches, whatever models take and return.

Opened are tuples (named ones too), lists, mappings, dataclasses and objects that keep their values as attributes; never
what can be called (modules, functions, classes). Everything else is a leaf. Nothing here knows torch.

    leaves(value, torch.Tensor)                       # the tensors in it, in order
    changed(value, torch.Tensor, torch.Tensor.cuda)   # the same value with each of them replaced
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def leaves(value: Any, kind: type[T]) -> Iterator[T]:
    """Walk through a value for everything of one kind, depth first; a value that holds itself is entered once."""
    for _, leaf in paths(value, kind):
        yield leaf


def paths(value: Any, kind: type[T]) -> Iterator[tuple[str, T]]:
    """Walk as `leaves` does, with the dotted path of each leaf: `heads.0.critic`."""
    yield from _paths(value, kind, "", set())


def _paths(value: Any, kind: type[T], path: str, above: set[int]) -> Iterator[tuple[str, T]]:
    if isinstance(value, kind):
        yield path, value
        return
    children = _children(value)
    if children is None or id(value) in above:
        return
    above.add(id(value))
    for name, child in children.items():
        yield from _paths(child, kind, f"{path}.{name}" if path else str(name), above)
    above.discard(id(value))


def changed(value: Any, kind: type[T], change: Callable[[T], Any]) -> Any:
    """Return the value with each part of one kind replaced; what holds none of them is kept as it is, not copied."""
    return _changed(value, kind, change, {})


def named(value: Any, name: str) -> Any:
    """Return what a mapping or an object calls `name`, such as the `loss` and `logits` of libraries; None without."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _changed(value: Any, kind: type[T], change: Callable[[T], Any], done: dict[int, Any]) -> Any:
    if isinstance(value, kind):
        return change(value)
    children = _children(value)
    if children is None:
        return value
    if id(value) in done:
        return done[id(value)]
    done[id(value)] = value  # a value that holds itself keeps its old self inside
    new = {name: _changed(child, kind, change, done) for name, child in children.items()}
    if any(new[name] is not child for name, child in children.items()):
        done[id(value)] = _rebuilt(value, new)
    return done[id(value)]


def _children(value: Any) -> Mapping[Any, Any] | None:
    """Name what a container holds; None for a leaf."""
    if isinstance(value, tuple | list):
        return dict(enumerate(value))
    if isinstance(value, Mapping):
        return value
    if callable(value):
        return None
    slots = [name for cls in type(value).__mro__ for name in _slots(cls) if name in dir(value)]
    held = getattr(value, "__dict__", None)
    if not isinstance(held, dict) and not slots:
        return None
    return {name: getattr(value, name) for name in slots} | (held if isinstance(held, dict) else {})


def _slots(cls: type) -> tuple[str, ...]:
    """Name the slots of a dataclass; those of other types are their own affair."""
    found = vars(cls).get("__slots__", ()) if "__dataclass_fields__" in vars(cls) else ()
    return (found,) if isinstance(found, str) else tuple(found)


def _rebuilt(value: Any, new: Mapping[Any, Any]) -> Any:
    if isinstance(value, tuple):
        items = new.values()
        return type(value)(*items) if "_fields" in dir(value) else tuple(items)
    if isinstance(value, list):
        return list(new.values())
    twin = copy.copy(value)
    if isinstance(value, Mapping):
        for name, child in new.items():
            twin[name] = child
        return twin
    for name, child in new.items():
        object.__setattr__(twin, name, child)  # a frozen dataclass, too
    return twin
