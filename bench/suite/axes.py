"""Every axis: the fields of `Cell`, with how a value is read from what people type or write in suite files and Python.

Checked here, once, with an error that says what would be right.
"""

from __future__ import annotations

import math
import operator
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar

from bench.core.cell import SEVERAL_PROCESSES, About, Cell, ScalingMode, is_parallel
from bench.core.errors import UsageError
from bench.core.inputs import read_input_shape
from bench.core.precision import NO_PRECISION
from bench.core.record import Sampling
from bench.core.text import choices, suggest

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
        if text in NO_PRECISION:
            raise UsageError(f"{axis} {text!r} {NO_PRECISION[text]}") from None
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


def _whole(value: Any) -> int:
    """Read a whole number; 8.5 and True are none, though `int` would take them.

    Raises:
        TypeError: It is of another kind.
        ValueError: Its text is no number.
    """
    if isinstance(value, bool):
        raise TypeError("a bool is no number")
    return int(value) if isinstance(value, str) else operator.index(value)


def _name(text: Any, axis: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise UsageError(f"{axis} must be a name, found {text!r}")
    return text


def _any_whole(value: Any, axis: str) -> int:
    try:
        number = _whole(value)
    except (TypeError, ValueError):
        raise UsageError(f"{axis} must be a whole number, found {value!r}") from None
    if not -(2**63) <= number < 2**63:
        raise UsageError(f"{axis} must fit into 64 bits, found {number}")
    return number


def _above_zero(value: Any, axis: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise UsageError(f"{axis} must be a number above 0, found {value!r}")
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One dimension of a sweep.

    Attributes:
        name: Name of the field of `Cell`; its name in suite files, in Python and, with dashes, on the command line.
        kind: Type of its values.
        is_optional: Whether None is a value, written `about.unset`.
        default: What a sweep takes that does not say; None for a model, too, which has none.
        about: What is said of it.
    """

    name: str
    kind: type
    is_optional: bool
    default: Any
    about: About

    def read(self, value: Any) -> Any:
        """Read one value.

        Raises:
            UsageError: It makes no sense.
        """
        if self.is_optional and (value is None or value == self.about.unset):
            return None
        if self.is_inputs:
            return read_input_shape(value)
        words = self.name.replace("_", " ")
        if issubclass(self.kind, StrEnum):
            return parse_choice(self.kind, value, words)
        if self.kind is int:
            return _any_whole(value, words) if self.about.least is None else parse_positive(value, words)
        return _above_zero(value, words) if self.kind is float else _name(value, words)

    def read_all(self, given: Any) -> tuple[Any, ...]:
        """Read a value or a list of values, each once. All inputs of a model together are one value.

        Raises:
            UsageError: There is none, or one makes no sense.
        """
        if self.is_inputs and given not in ([], ()):
            return (self.read(given),)
        values = given if isinstance(given, list | tuple) else [given]
        if not values:
            raise UsageError(f"{self.name} is an empty list; give it a value or leave it out")
        return tuple(dict.fromkeys(self.read(value) for value in values))

    @property
    def is_inputs(self) -> bool:
        """Whether its values are what a bare module is fed."""
        return self.kind is tuple

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        return self.kind in (int, float)

    def words(self, value: Any) -> str:
        """Write a value as it is typed."""
        return self.about.unset if value is None else self.about.text(value) or ""

    def fill(self, text: str, quote: str = "") -> str:
        """Write the values of a choice as text, for `{choices}`; with quotes as a list, else with `or`."""
        if not issubclass(self.kind, StrEnum):
            return text
        return text.format(choices=choices(self.kind, "," if quote else " or", quote))

    @property
    def flags(self) -> tuple[str, ...]:
        """Names of its option; the last is the long one of its own name."""
        return (*self.about.flags, f"--{self.name.replace('_', '-')}")


def _axes() -> dict[str, Axis]:
    hints = typing.get_type_hints(Cell)
    found = {}
    for field in fields(Cell):
        options = typing.get_args(hints[field.name]) if isinstance(hints[field.name], types.UnionType) else ()
        first = (options or (hints[field.name],))[0]
        about: About = field.metadata["about"]
        found[field.name] = Axis(
            name=field.name,
            kind=typing.get_origin(first) or first,
            is_optional=type(None) in options,
            default=about.usual if field.default is MISSING else field.default,
            about=about,
        )
    return found


AXES: Mapping[str, Axis] = MappingProxyType(_axes())
"""Every axis, in the order of the loops of a sweep, outermost first."""

MODEL_OPTIONS: Mapping[str, Axis] = MappingProxyType(
    {
        "sequence_length": Axis(
            name="sequence_length",
            kind=int,
            is_optional=False,
            default=None,
            about=About(
                meaning="tokens of an example",
                help="Tokens of an example: the model's option of this name.",
                usual_words="the model's",
                unit="tokens",
            ),
        )
    }
)
"""Axes that no cell has: each value is written into the model's spec, so that one measurement has one key."""

SCALING = Axis(
    name="scaling",
    kind=ScalingMode,
    is_optional=False,
    default=ScalingMode.WEAK,
    about=About(
        meaning="{choices}",
        help="Several processes each have the batch (weak), or share it (strong).",
        metavar="MODE",
        applies=is_parallel,
        needs=SEVERAL_PROCESSES,
    ),
)
"""How the batch of a cell of several processes is meant; written into its batch size, which is each process's."""

TYPED: Mapping[str, Axis] = MappingProxyType({**AXES, **MODEL_OPTIONS, SCALING.name: SCALING})
"""All that can be typed: a sweep, not a cell."""

OTHER_NAMES: Mapping[str, str] = MappingProxyType({"input": "input_shape"})
"""What an axis may be called besides."""


def axes_of(**axes: Any) -> dict[str, tuple[Any, ...]]:
    """Read axes by their names in a suite file, each a value or a list; None leaves one out.

    Raises:
        UsageError: An axis is unknown or a value makes no sense.
    """
    values: dict[str, tuple[Any, ...]] = {}
    for typed, given in axes.items():
        name = OTHER_NAMES.get(typed, typed)
        if name not in TYPED:
            raise UsageError(f"no axis named {typed!r}. {suggest(typed, [*TYPED, *OTHER_NAMES])}")
        if given is None:
            continue
        if name in values:
            raise UsageError(
                f"{' and '.join(n for n in axes if OTHER_NAMES.get(n, n) == name)} mean the same; give one"
            )
        values[name] = TYPED[name].read_all(given)
    return values


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
        if isinstance(defaults[name], bool):
            if not isinstance(value, bool):
                raise UsageError(f"sampling.{name} is true or false, found {value!r}")
            changes[name] = value
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) == math.inf:
            raise UsageError(f"sampling.{name} must be a number, found {value!r}")
        if isinstance(defaults[name], int) and value != int(value):
            raise UsageError(f"sampling.{name} must be a whole number, found {value!r}")
        if value < 0 or (value == 0 and defaults[name] != 0):
            raise UsageError(f"sampling.{name} must be more than 0, found {value!r}")
        if value > _LARGEST:
            raise UsageError(f"sampling.{name} must be at most {_LARGEST}")
        changes[name] = type(defaults[name])(value)
    found = replace(base, **changes)
    for least, most in (("min_steps", "max_steps"), ("min_warmup_steps", "max_warmup_steps")):
        if least in changes and changes[least] > getattr(found, most):
            raise UsageError(
                f"sampling.{least} is {changes[least]}, and {most} is {getattr(found, most)}: more than that"
            )
    return found
