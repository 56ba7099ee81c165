"""Axis values from what people type: checked here, once, with an error that says what would be right."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from bench.core.cell import CompileMode, MemoryFormat, Mode, Parallel, Precision
from bench.core.errors import SuiteError

E = TypeVar("E", bound=StrEnum)

_LARGEST = 2**31 - 1
"""Of any count: what is larger is a slip of the finger, and overflows torch's and the tables' integers on the way."""


def parse_choice(kind: type[E], text: Any, axis: str) -> E:
    """Read one value of an enumerated axis.

    Raises:
        SuiteError: There is no such value; the message lists them.
    """
    try:
        return kind(text)
    except ValueError:
        raise SuiteError(f"{axis} {text!r} is unknown. {suggest(str(text), [item.value for item in kind])}") from None


def parse_positive(text: Any, axis: str) -> int:
    """Read a whole number of at least 1.

    Raises:
        SuiteError: It is not one.
    """
    try:
        value = _whole(text)
    except (TypeError, ValueError):
        raise SuiteError(f"{axis} must be a whole number, found {text!r}; write for example 32") from None
    if value < 1:
        raise SuiteError(f"{axis} must be at least 1, found {value}")
    if value > _LARGEST:
        raise SuiteError(f"{axis} must be at most {_LARGEST}, found {value}")
    return value


def parse_shape(text: Any) -> tuple[int, ...]:
    """Read `3x224x224` or `[3, 224, 224]` as a shape without the batch.

    Raises:
        SuiteError: It is not a shape.
    """
    try:
        shape = tuple(_whole(part) for part in (text.lower().split("x") if isinstance(text, str) else text))
    except (TypeError, ValueError):
        shape = ()
    if not shape or min(shape) < 1:
        raise SuiteError(f"input shape must look like 3x224x224 (one example, without the batch), found {text!r}")
    return shape


def suggest(text: str, known: Iterable[str]) -> str:
    """Say what could have been meant."""
    options = list(known)
    close = difflib.get_close_matches(text, options, n=1)
    return (f"Did you mean {close[0]!r}? " if close else "") + f"Use one of: {', '.join(options)}"


def _whole(value: Any) -> int:
    """Read a whole number; 8.5 and True are none, though `int` would take them.

    Raises:
        TypeError: It is of another kind.
        ValueError: Its text is no number.
    """
    if isinstance(value, bool):
        raise TypeError("a bool is no number")
    return int(value) if isinstance(value, str) else operator.index(value)


def _text(axis: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise SuiteError(f"{axis} must be a name, found {value!r}")
        return value

    return read


def _parse_seed(value: Any) -> int:
    try:
        seed = _whole(value)
    except (TypeError, ValueError):
        raise SuiteError(f"seed must be a whole number, found {value!r}") from None
    if not -(2**63) <= seed < 2**63:
        raise SuiteError(f"seed must fit into 64 bits, found {seed}")
    return seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One dimension of a sweep: the field of `Sweep` that holds its values, and how one value is read."""

    field: str
    read: Callable[[Any], Any]

    def read_all(self, given: Any) -> tuple[Any, ...]:
        """Read a value or a list of values, each once.

        Raises:
            SuiteError: There is none, or one makes no sense.
        """
        values = given if isinstance(given, list | tuple) else [given]
        if not values:
            raise SuiteError(f"{self.field} is an empty list; give it a value or leave it out")
        return tuple(dict.fromkeys(self.read(value) for value in values))


AXES: dict[str, Axis] = {
    "model": Axis(field="models", read=_text("model")),
    "mode": Axis(field="modes", read=lambda value: parse_choice(Mode, value, "mode")),
    "batch_size": Axis(field="batch_sizes", read=lambda value: parse_positive(value, "batch size")),
    "device": Axis(field="devices", read=_text("device")),
    "precision": Axis(field="precisions", read=lambda value: parse_choice(Precision, value, "precision")),
    "optimizer": Axis(field="optimizers", read=_text("optimizer")),
    "compile": Axis(field="compile", read=lambda value: parse_choice(CompileMode, value, "compile")),
    "memory_format": Axis(
        field="memory_formats", read=lambda value: parse_choice(MemoryFormat, value, "memory format")
    ),
    "threads": Axis(field="threads", read=lambda value: parse_positive(value, "threads")),
    "world_size": Axis(field="world_sizes", read=lambda value: parse_positive(value, "world size")),
    "parallel": Axis(field="parallel", read=lambda value: parse_choice(Parallel, value, "parallel")),
    "seed": Axis(field="seeds", read=_parse_seed),
}
"""Every axis, by its name in suite files, in Python and, with dashes, on the command line; also the field of `Cell`."""
