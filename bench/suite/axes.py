"""Axis values from what people type: checked here, once, with an error that says what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from bench.core.errors import SuiteError

E = TypeVar("E", bound=StrEnum)


def parse_choice(kind: type[E], text: str, axis: str) -> E:
    """Read one value of an enumerated axis.

    Raises:
        SuiteError: There is no such value; the message lists them.
    """
    try:
        return kind(text)
    except ValueError:
        raise SuiteError(f"{axis} {text!r} is unknown. {suggest(text, [item.value for item in kind])}") from None


def parse_positive(text: str | int, axis: str) -> int:
    """Read a whole number of at least 1.

    Raises:
        SuiteError: It is not one.
    """
    try:
        if isinstance(text, bool):
            raise ValueError
        value = int(text)
    except ValueError:
        raise SuiteError(f"{axis} must be a whole number, found {text!r}; write for example 32") from None
    if value < 1:
        raise SuiteError(f"{axis} must be at least 1, found {value}")
    return value


def parse_shape(text: str) -> tuple[int, ...]:
    """Read `3x224x224` as a shape without the batch.

    Raises:
        SuiteError: It is not a shape.
    """
    try:
        shape = tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise SuiteError(f"input shape must look like 3x224x224 (one example, without the batch), found {text!r}")
    return shape


def suggest(text: str, known: Iterable[str]) -> str:
    """Say what could have been meant."""
    options = list(known)
    close = difflib.get_close_matches(text, options, n=1)
    return (f"Did you mean {close[0]!r}? " if close else "") + f"Use one of: {', '.join(options)}"
