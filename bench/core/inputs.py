"""What a bare module is fed, as people type it: `3x224x224`, `ids:int64:128:0..30522`; several make one batch.

An input is `[NAME:][TYPE:]SHAPE[:LOW..HIGH]`: the shape is that of one example (`scalar` for one number), the type
float32 where none is named, drawn from a normal distribution or evenly from LOW up to HIGH, which is left out. Inputs
with a name are passed as keywords, the others by position.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.errors import UsageError
from bench.core.text import did_you_mean

InputShape = tuple[int, ...] | tuple[str, ...]
"""The shape of the one float32 input of a model, or each of its inputs as text (`Input.text`)."""

FLOATS = ("float32", "float64", "float16", "bfloat16", "complex64", "complex128")
INTEGERS = {
    "int64": (-(2**63), 2**63 - 1),
    "int32": (-(2**31), 2**31),
    "int16": (-(2**15), 2**15),
    "int8": (-128, 128),
    "uint8": (0, 256),
    "bool": (0, 2),
}
"""Where LOW..HIGH may lie, by type; it may be left out for the last two, which have a range of their own."""

_HAS_OWN_RANGE = ("uint8", "bool")
_SCALAR = "scalar"
_EXAMPLES = "3x224x224, int64:128:0..30522 or mask:bool:128"
_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input of a bare module.

    Attributes:
        name: Name of the keyword; None for a positional input.
        dtype: Name of the torch type, such as `int64`.
        shape: Shape of one example, without the batch.
        bounds: Lowest value and the one above the highest; None for normally distributed values.
    """

    name: str | None = None
    dtype: str = "float32"
    shape: tuple[int, ...]
    bounds: tuple[int, int] | tuple[float, float] | None = None

    @property
    def text(self) -> str:
        """The input as it is typed, in its shortest form."""
        parts = [] if self.name is None else [self.name]
        if self.dtype != "float32":
            parts.append(self.dtype)
        parts.append("x".join(map(str, self.shape)) or _SCALAR)
        if self.bounds is not None and not (self.dtype in _HAS_OWN_RANGE and self.bounds == INTEGERS[self.dtype]):
            parts.append("..".join(str(bound) for bound in self.bounds))
        return ":".join(parts)


def read_input_shape(given: Any) -> InputShape:
    """Read what was typed for the inputs: one text or several, or a shape as numbers.

    Raises:
        UsageError: It makes no sense.
    """
    given = [given] if isinstance(given, str) else given
    if not isinstance(given, Sequence) or not given:
        raise _refused(given, "it is no input")
    if all(isinstance(size, int) for size in given):
        return _shape(given, given)
    inputs = tuple(_parse(part) for one in given for part in (_parts(one) if isinstance(one, str) else [one]))
    names = [one.name for one in inputs if one.name is not None]
    if len(set(names)) < len(names):
        raise _refused(given, "a name stands twice")
    only = inputs[0] if len(inputs) == 1 else None
    return only.shape if only is not None and only == Input(shape=only.shape) else tuple(one.text for one in inputs)


def inputs_of(given: InputShape) -> tuple[Input, ...]:
    """Return the inputs that a cell asks for."""
    if isinstance(given[0], int):
        return (Input(shape=_shape(given, given)),)
    return tuple(_parse(text) for text in given)


def only_shape(given: InputShape) -> tuple[int, ...]:
    """Return the shape of the one float32 input that some models take.

    Raises:
        UsageError: Other inputs are asked for.
    """
    inputs = inputs_of(given)
    if len(inputs) > 1 or inputs[0] != Input(shape=inputs[0].shape):
        raise UsageError(
            f"input {inputs_text(given)!r}: one image of float32 is taken here; give one shape, for example 3x224x224"
        )
    return inputs[0].shape


def inputs_text(given: Iterable[int | str] | None) -> str | None:
    """Write the inputs as they are typed: `3x224x224`, `ids:int64:128:0..30522,mask:bool:128`; None stays None."""
    if given is None:
        return None
    values = tuple(given)
    return ("x" if all(isinstance(value, int) for value in values) else ",").join(map(str, values))


def _parts(text: str) -> list[str]:
    """Part inputs that stand in one text; 3,224,224 is a slip for 3x224x224, not three inputs."""
    parts = text.split(",")
    if not all(part.strip() for part in parts):
        raise _refused(text, "a part between commas is empty")
    if len(parts) > 1 and all(part.strip().isdigit() for part in parts):
        raise _refused(text, f"write {'x'.join(part.strip() for part in parts)} for one shape")
    return parts


def _parse(given: Any) -> Input:
    if not isinstance(given, str):
        return Input(shape=_shape(given, given))
    first, *others = (part.strip() for part in given.split(":"))
    name = dtype = None
    if first not in FLOATS and first not in INTEGERS and first.isidentifier() and first != _SCALAR and others:
        name, (first, *others) = first, others
    if first in FLOATS or first in INTEGERS:
        dtype = first
        if not others:
            raise _refused(given, "the shape is missing")
        first, *others = others
    if first[:1].isalpha() and first.lower() != _SCALAR:
        raise _refused(given, f"torch type {first!r} is unknown.{did_you_mean(first, [*FLOATS, *INTEGERS])}")
    if len(others) > 1:
        raise _refused(given, "it has too many parts")
    shape = () if first.lower() == _SCALAR else _shape(first.lower().split("x"), given)
    dtype = dtype or "float32"
    return Input(name=name, dtype=dtype, shape=shape, bounds=_bounds(others[0] if others else None, dtype, given))


def _shape(sizes: Any, given: Any) -> tuple[int, ...]:
    try:
        shape = tuple(_whole(size) for size in sizes)
    except (TypeError, ValueError):
        shape = ()
    if not shape or not 1 <= min(shape) <= max(shape) <= _LARGEST:
        raise _refused(given, "the shape is not made of whole numbers of at least 1")
    return shape


def _whole(size: Any) -> int:
    if isinstance(size, bool) or not isinstance(size, int | str):
        raise TypeError
    return int(size)


def _bounds(text: str | None, dtype: str, given: str) -> tuple[int, int] | tuple[float, float] | None:
    limits = INTEGERS.get(dtype)
    if text is None:
        if limits is None or dtype in _HAS_OWN_RANGE:
            return limits
        raise _refused(given, f"{dtype} needs the range of its values, such as {given}:0..1000")
    low_text, dots, high_text = text.partition("..")
    try:
        low, high = (int if limits else float)(low_text), (int if limits else float)(high_text)
    except ValueError:
        low = high = 0
    if not dots or not low < high or not math.isfinite(high - low):
        raise _refused(given, f"{text!r} is no range LOW..HIGH with LOW below HIGH")
    if limits and not limits[0] <= low < high <= limits[1]:
        raise _refused(given, f"{dtype} holds {limits[0]}..{limits[1]} only")
    return low, high


def _refused(given: Any, why: str) -> UsageError:
    sentence = why if why.endswith((".", "?")) else f"{why}."
    return UsageError(
        f"input shape {given!r}: {sentence} An input is [NAME:][TYPE:]SHAPE[:LOW..HIGH] of one example, "
        f"without the batch, for example {_EXAMPLES}"
    )
