"""Axis values from what people type: checked here, once, with an error that says what would be right.

Sweeps from Python values: what `bench.run(...)` and the pytest mark take, with the suite file's names and checks.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, TypeVar

from bench.core.cell import CompileMode, MemoryFormat, Mode, Parallel, Precision
from bench.core.errors import UsageError
from bench.core.inputs import read_input_shape
from bench.core.record import Sampling
from bench.suite.sweep import Sweep

E = TypeVar("E", bound=StrEnum)

_LARGEST = 2**31 - 1
"""Of any count: what is larger is a slip of the finger, and overflows torch's and the tables' integers on the way."""


def parse_choice(kind: type[E], text: Any, axis: str) -> E:
    """Read one value of an enumerated axis.

    Raises:
        UsageError: There is no such value; the message lists them.
    """
    try:
        return kind(text)
    except ValueError:
        raise UsageError(f"{axis} {text!r} is unknown. {suggest(str(text), [item.value for item in kind])}") from None


def parse_positive(text: Any, axis: str) -> int:
    """Read a whole number of at least 1.

    Raises:
        UsageError: It is not one.
    """
    try:
        value = _whole(text)
    except (TypeError, ValueError):
        raise UsageError(f"{axis} must be a whole number, found {text!r}; write for example 32") from None
    if value < 1:
        raise UsageError(f"{axis} must be at least 1, found {value}")
    if value > _LARGEST:
        raise UsageError(f"{axis} must be at most {_LARGEST}, found {value}")
    return value


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
            raise UsageError(f"{axis} must be a name, found {value!r}")
        return value

    return read


def _parse_seed(value: Any) -> int:
    try:
        seed = _whole(value)
    except (TypeError, ValueError):
        raise UsageError(f"seed must be a whole number, found {value!r}") from None
    if not -(2**63) <= seed < 2**63:
        raise UsageError(f"seed must fit into 64 bits, found {seed}")
    return seed


def _parse_norm(value: Any) -> float | None:
    """Read the largest norm of the gradients; `none` clips nothing."""
    if value is None or value == "none":
        return None
    try:
        norm = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        norm = math.nan
    if not 0 < norm < math.inf:
        raise UsageError(f"clip norm must be a number above 0, or none, found {value!r}")
    return norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One dimension of a sweep: the field of `Sweep` that holds its values, and how one value is read."""

    field: str
    read: Callable[[Any], Any]

    def read_all(self, given: Any) -> tuple[Any, ...]:
        """Read a value or a list of values, each once.

        Raises:
            UsageError: There is none, or one makes no sense.
        """
        values = given if isinstance(given, list | tuple) else [given]
        if not values:
            raise UsageError(f"{self.field} is an empty list; give it a value or leave it out")
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
    "accumulate": Axis(field="accumulate", read=lambda value: parse_positive(value, "accumulate")),
    "clip_norm": Axis(field="clip_norms", read=_parse_norm),
}
"""Every axis, by its name in suite files, in Python and, with dashes, on the command line; also the field of `Cell`."""


INPUT_NAMES = ("input", "input_shape")
"""What a bare module is fed, in full or as one shape: no axis, all inputs together make one batch."""


def axes_of(**axes: Any) -> dict[str, Any]:
    """Read axes by their names in a suite file, each a value or a list, into fields of `Sweep`.

    Raises:
        UsageError: An axis is unknown or a value makes no sense.
    """
    values: dict[str, Any] = {}
    for name, given in axes.items():
        if name in INPUT_NAMES:
            if given is not None and values.get("input_shape") is not None:
                raise UsageError("input and input_shape mean the same; give one of them")
            values["input_shape"] = values.get("input_shape") if given is None else read_input_shape(given)
            continue
        if name not in AXES:
            raise UsageError(f"no axis named {name!r}. {suggest(name, [*AXES, *INPUT_NAMES])}")
        values[AXES[name].field] = AXES[name].read_all(given)
    return values


def sweep_of(*, models: Any, **axes: Any) -> Sweep:
    """Make a sweep of these models over these axes.

    Raises:
        UsageError: As `axes_of`.
    """
    return Sweep(**axes_of(model=models, **axes))


def sampling_of(base: Sampling, **values: Any) -> Sampling:
    """Change fields of a Sampling, each checked: a number, positive, and whole where it counts something.

    Raises:
        UsageError: A field is unknown or a value makes no sense.
    """
    defaults: dict[str, int | float] = {field.name: getattr(Sampling(), field.name) for field in fields(Sampling)}
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in defaults:
            raise UsageError(f"[sampling] has an unknown key {name!r}. {suggest(name, defaults)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UsageError(f"sampling.{name} must be a number, found {value!r}")
        if isinstance(defaults[name], int) and value != int(value):
            raise UsageError(f"sampling.{name} must be a whole number, found {value!r}")
        if value < 0 or (value == 0 and defaults[name] != 0):
            raise UsageError(f"sampling.{name} must be more than 0, found {value!r}")
        changes[name] = type(defaults[name])(value)
    return replace(base, **changes)
