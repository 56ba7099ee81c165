"""Frozen dataclasses to JSON and back, driven by their type hints.

Values are str, int, float, bool, None, enum, tuple and further dataclasses of this kind. Tuples become lists, enums
their values. Reading is strict: a missing or unknown key is an error that names the key and the type, and so is a
number that no such value can be. Names carry units: `seconds` are not negative, counts fit 64 bits (FLOPs alone may be
more), `started_at` is a time.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import types
import typing
from collections.abc import Hashable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin

T = TypeVar("T")

_LARGEST_COUNT = 2**63 - 1
_LARGEST_FLOPS = 10**30
"""The largest training of 2026 took some 10^27."""
_LONGEST_SECONDS = 1e10
"""Three centuries."""
_DEEPEST = 50
"""Levels of what has no type; nothing that we write has ten."""
_IS_LONG = re.compile(r"\d{31}|[eE]\+?\d{3}")


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


def parse_json(data: bytes, *, is_finite: bool = True) -> Any:
    """Parse JSON of somebody else: each key once, finite numbers, UTF-8 with or without a byte order mark.

    Args:
        data: The file.
        is_finite: Refuse NaN and Infinity; other tools write them.

    Raises:
        ValueError: It is no such JSON; the message is one line.
    """
    text = data.decode("utf-8-sig")
    hooks: dict[str, Any] = {"parse_int": _parse_int, "parse_float": _parse_float} if _IS_LONG.search(text) else {}
    try:
        refuse = _refuse_constant if is_finite else None
        return json.loads(text, parse_constant=refuse, object_pairs_hook=_each_once, **hooks)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:80]!r} is given twice")
    return found


def _parse_int(digits: str) -> int:
    if len(digits) > len(str(-_LARGEST_FLOPS)):
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _parse_float(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError(f"{digits[:20]} is no finite number")
    return value


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
        _check_untyped(value, where)
        return value
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _read_union(get_args(hint), value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where} needs a list, found {value!r}")
        items = get_args(hint)
        if len(items) == 2 and items[1] is Ellipsis:
            if items[0] is float and set(map(type, value)) == {float}:
                return _checked_floats(tuple(value), where)
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
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _checked_float(value, where)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        if hint is int and isinstance(value, int):
            _check_count(value, where)
        elif isinstance(value, str) and where.endswith(".started_at"):
            _check_time(value, where)
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


def _checked_floats(values: tuple[float, ...], where: str) -> tuple[float, ...]:
    """Check samples, of which a record holds hundreds, by three numbers."""
    if math.isfinite(sum(map(abs, values))):  # math.fsum would raise where it overflows
        _checked_float(min(values), where)
        _checked_float(max(values), where)
        return values
    return tuple(_checked_float(value, where) for value in values)


def _checked_float(value: float, where: str) -> float:
    if not -1e308 < value < 1e308:  # also NaN, and an int that no float holds
        raise ValueError(f"{where} needs a finite number, found {_shown(value)}")
    if where.endswith("seconds") and not 0 <= value <= _LONGEST_SECONDS:
        raise ValueError(f"{where} needs seconds from 0 to {_LONGEST_SECONDS:g}, found {_shown(value)}")
    return float(value)


def _check_count(value: int, where: str) -> None:
    largest = _LARGEST_FLOPS if "flop" in where.lower() or "macs" in where else _LARGEST_COUNT
    if not -largest - 1 <= value <= largest:
        raise ValueError(f"{where} is {_shown(value)}: no such count can be so large")


def _check_time(text: str, where: str) -> None:
    """Refuse what is no time, or one that has none in UTC; an empty text is an unknown time."""
    try:
        if text:
            datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{where} needs a time such as 2026-11-23T17:53:09+00:00, found {text[:40]!r}") from None


def _check_untyped(value: Any, where: str, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"{where} is nested more than {_DEEPEST} levels deep")
    if isinstance(value, int | float) and not -1e308 < value < 1e308:
        raise ValueError(f"{where} holds {_shown(value)}, which is no finite number")
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            _check_untyped(item, where, depth + 1)


def _shown(value: float) -> str:
    """Write a number; one of very many digits by their count, which Python would refuse to write."""
    if isinstance(value, int) and abs(value) >= 10**40:
        return f"a number of about {int(value.bit_length() * 0.30103) + 1} digits"
    return repr(value)
