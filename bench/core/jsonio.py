"""Frozen dataclasses to JSON and back, driven by their type hints.

Values are str, int, float, bool, None, enum, tuple and further dataclasses of this kind. Tuples become lists, enums
their values. Reading is strict: a missing or unknown key is an error that names the key and the type.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Hashable, Mapping
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Turn a value into what `json.dump` takes; dataclasses become dicts in field order."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"cannot write a {type(value).__name__} as JSON: {value!r}")


def from_json(cls: type[T], data: Any) -> T:
    """Build a dataclass of type `cls` from parsed JSON.

    Raises:
        ValueError: A key is missing or unknown, or a value has the wrong type; the message names it.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{cls.__name__} needs a JSON object, found {type(data).__name__}")
    hints = _hints(typing.cast(Hashable, cls))
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise ValueError(f"{cls.__name__} has no field {unknown[0]!r}")
    try:
        return cls(**{name: _read(hints[name], value, f"{cls.__name__}.{name}") for name, value in data.items()})
    except TypeError as error:  # a required field is missing
        raise ValueError(f"{cls.__name__}: {error}") from None


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _read(hint: Any, value: Any, where: str) -> Any:
    """Read one value as the type hint says; `where` names it in errors."""
    if hint is Any:
        return value
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _read_union(get_args(hint), value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where} needs a list, found {value!r}")
        items = get_args(hint)
        if len(items) == 2 and items[1] is Ellipsis:
            return tuple(_read(items[0], item, where) for item in value)
        if len(items) != len(value):
            raise ValueError(f"{where} needs {len(items)} values, found {len(value)}")
        return tuple(_read(item_hint, item, where) for item_hint, item in zip(items, value, strict=True))
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type[Any], hint), value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint(value)
        except ValueError:
            known = ", ".join(str(item.value) for item in hint)
            raise ValueError(f"{where} needs one of {known}, found {value!r}") from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ValueError(f"{where} needs {getattr(hint, '__name__', hint)}, found {value!r}")


def _read_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    problems = []
    exact = [option for option in options if option is type(value)]  # 3 stays an int where int | float is asked
    for option in exact or [option for option in options if option is not type(None)]:
        try:
            return _read(option, value, where)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError(problems[0] if problems else f"{where} cannot be {value!r}")
