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
from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin

T = TypeVar("T")

_LARGEST_COUNT = 2**63 - 1
_LARGEST_FLOPS = 10**30
"""The largest training of 2026 took some 10^27."""
_LARGEST = 1e308
_LONGEST_SECONDS = 1e10
"""Three centuries."""
_LARGEST_LOGARITHM = 100.0
"""Of a ratio: 1e43 times as long."""
_LOGARITHMS = re.compile(r"(shifts?|minimum_detectable|\.within|\.between)$|^Comparison\.(low|high|mean_high)$")
_DEEPEST = 50
"""Levels of what has no type; nothing that we write has ten."""
_TIMES = ".started_at"
_MOST_SHARED = 64
_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
_LONG = (b"0" * 31, b"e000")
"""Digits and exponents, all digits alike and without +, that may be too much: a search for bytes takes a hundredth of a
pattern's."""


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
    alike = data.translate(_ALIKE, b"+")
    is_long = any(digits in alike for digits in _LONG)
    try:
        return _decoder(is_finite, is_long).decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


@functools.cache
def _decoder(is_finite: bool, is_long: bool) -> json.JSONDecoder:
    hooks: dict[str, Any] = {"parse_int": _parse_int, "parse_float": _parse_float} if is_long else {}
    refuse = _refuse_constant if is_finite else None
    return json.JSONDecoder(parse_constant=refuse, object_pairs_hook=_each_once, **hooks)


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
    readers = _readers(typing.cast(Hashable, cls))
    if not data.keys() <= readers.keys():
        unknown = sorted(set(data) - set(readers))
        raise ValueError(f"{cls.__name__} has no field {unknown[0]!r}")
    made = {}
    for name, value in data.items():
        passing, read = readers[name]
        made[name] = value if type(value) in passing else read(value)
    try:
        return cls(**made)
    except TypeError as error:  # a required field is missing
        raise ValueError(f"{cls.__name__}: {error}") from None


_Reader = Callable[[Any], Any]
"""Takes one value of parsed JSON, returns it as its hint says, or raises ValueError."""


@functools.cache
def _readers(cls: Any) -> dict[str, tuple[frozenset[type], _Reader]]:
    """Make the reader of each field, once per type, and name the types that need none: a report reads millions."""
    hints = typing.get_type_hints(cls)
    found = {}
    for field in dataclasses.fields(cls):
        hint, where = hints[field.name], f"{cls.__name__}.{field.name}"
        options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        passing = {option for option in options if option in (type(None), bool)}
        if str in options and not where.endswith(_TIMES):
            passing.add(str)
        found[field.name] = frozenset(passing), _reader(hint, where)
    return found


_SHARED: set[type] = set()


def shared(cls: type[T]) -> type[T]:
    """Read equal JSON of this class into one value, as a decorator: ten thousand records name one machine."""
    _SHARED.add(cls)
    return cls


def _shared_reader(cls: type[T]) -> _Reader:
    known: dict[str, T] = {}

    def read(data: Any) -> T:
        written = repr(data)  # 1, 1.0 and True differ, unlike as a dictionary's values
        if written not in known:
            if len(known) >= _MOST_SHARED:
                known.clear()
            known[written] = from_json(cls, data)
        return known[written]

    return read


def _reader(hint: Any, where: str) -> _Reader:
    """Make the reader of one type hint; `where` names the value in errors."""
    if hint is Any:
        return functools.partial(_read_untyped, where=where)
    if get_origin(hint) in (Union, types.UnionType):
        return _union_reader(get_args(hint), where)
    if get_origin(hint) is tuple:
        items = get_args(hint)
        if len(items) != 2 or items[1] is not Ellipsis:
            return _fixed_reader(items, where)
        return _floats_reader(where) if items[0] is float else _tuple_reader(items[0], where)
    if dataclasses.is_dataclass(hint):
        cls = typing.cast(type[Any], hint)
        return _shared_reader(cls) if cls in _SHARED else functools.partial(from_json, cls)
    if issubclass(hint, Enum):
        return _enum_reader(hint, where)
    if hint is float:
        return functools.partial(_read_float, where=where, limits=_limits(where))
    if hint is int:
        return _int_reader(where)
    check = _check_time if where.endswith(_TIMES) else None
    return functools.partial(_read_plain, hint, where=where, check=check)


def _union_reader(options: tuple[Any, ...], where: str) -> _Reader:
    allows_none = type(None) in options
    readers = {option: _reader(option, where) for option in options if option is not type(None)}

    def read(value: Any) -> Any:
        if value is None and allows_none:
            return None
        exact = readers.get(type(value))  # 3 stays an int where int | float is asked
        problems = []
        for reader in (exact,) if exact else readers.values():
            try:
                return reader(value)
            except ValueError as error:
                problems.append(str(error))
        raise ValueError(problems[0])

    return read


def _tuple_reader(item: Any, where: str) -> _Reader:
    read_item = _reader(item, where)

    def read(value: Any) -> Any:
        return tuple(map(read_item, _listed(value, where)))

    return read


def _floats_reader(where: str) -> _Reader:
    """Make the reader of samples, of which a record holds hundreds: they are checked by three numbers."""
    limits = _limits(where)
    low, high = (limits.low, limits.high) if limits else (-_LARGEST / 2, _LARGEST / 2)

    def read(value: Any) -> Any:
        values = tuple(_listed(value, where))
        # A NaN makes every sum NaN; what overflows, cancels out or is near a limit is looked at one by one.
        is_plain = set(map(type, values)) == {float} and -_LARGEST < sum(values) < _LARGEST
        if is_plain and low <= min(values) and max(values) <= high:
            return values
        return tuple(_read_float(one, where, limits) for one in values)

    return read


def _fixed_reader(items: tuple[Any, ...], where: str) -> _Reader:
    readers = [_reader(item, where) for item in items]

    def read(value: Any) -> Any:
        if len(readers) != len(_listed(value, where)):
            raise ValueError(f"{where} needs {len(readers)} values, found {len(value)}")
        return tuple(reader(item) for reader, item in zip(readers, value, strict=True))

    return read


def _listed(value: Any, where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where} needs a list, found {value!r}")
    return value


def _read_untyped(value: Any, where: str) -> Any:
    _check_untyped(value, where)
    return value


def _enum_reader(hint: type[Enum], where: str) -> _Reader:
    members = {item.value: item for item in hint}

    def read(value: Any) -> Any:
        try:
            return members[value]
        except (KeyError, TypeError):  # no such value, or one of JSON's lists
            known = ", ".join(map(str, members))
            raise ValueError(f"{where} needs one of {known}, found {value!r}") from None

    return read


class _Limits(NamedTuple):
    """Between which finite numbers a value must be, and what that is called."""

    low: float
    high: float
    words: str


def _limits(where: str) -> _Limits | None:
    if where.endswith("seconds"):
        return _Limits(0, _LONGEST_SECONDS, f"seconds from 0 to {_LONGEST_SECONDS:g}")
    if _LOGARITHMS.search(where):
        return _Limits(-_LARGEST_LOGARITHM, _LARGEST_LOGARITHM, f"a logarithm of at most {_LARGEST_LOGARITHM:g}")
    return None


def _read_float(value: Any, where: str, limits: _Limits | None) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{where} needs float, found {value!r}")
    if not -_LARGEST < value < _LARGEST:  # also NaN, and an int that no float holds
        raise ValueError(f"{where} needs a finite number, found {_shown(value)}")
    if limits is not None and not limits.low <= value <= limits.high:
        raise ValueError(f"{where} needs {limits.words}, found {_shown(value)}")
    return float(value)


def _int_reader(where: str) -> _Reader:
    largest = _LARGEST_FLOPS if "flop" in where.lower() or "macs" in where else _LARGEST_COUNT
    least = -largest - 1

    def read(value: Any) -> Any:
        if type(value) is int and least <= value <= largest:
            return value
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{where} needs int, found {value!r}")
        raise ValueError(f"{where} is {_shown(value)}: no such count can be so large")

    return read


def _read_plain(hint: type[Any], value: Any, where: str, check: Callable[[str, str], None] | None) -> Any:
    if not isinstance(value, hint):
        raise ValueError(f"{where} needs {hint.__name__}, found {value!r}")
    if check:
        check(value, where)
    return value


def _check_time(text: str, where: str) -> None:
    """Refuse what is no time, or one that has none in UTC."""
    try:
        datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{where} needs a time such as 2026-11-23T17:53:09+00:00, found {text[:40]!r}") from None


def _check_untyped(value: Any, where: str, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"{where} is nested more than {_DEEPEST} levels deep")
    if isinstance(value, int | float) and not -_LARGEST < value < _LARGEST:
        raise ValueError(f"{where} holds {_shown(value)}, which is no finite number")
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            _check_untyped(item, where, depth + 1)


def _shown(value: float) -> str:
    """Write a number; one of very many digits by their count, which Python would refuse to write."""
    if isinstance(value, int) and abs(value) >= 10**40:
        return f"a number of about {int(value.bit_length() * 0.30103) + 1} digits"
    return repr(value)
