"""Keep a page readable: the first so many, long texts cut, and in both cases what was left out is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from bench.report.figures import plain

T = TypeVar("T")

LONGEST_NAME = 160
LONGEST_TEXT = 1200


def first(items: Sequence[T], limit: int, what: str) -> tuple[tuple[T, ...], str]:
    """Return the first items, and a sentence on the rest: empty where there is none."""
    rest = len(items) - limit
    if rest <= 0:
        return tuple(items), ""
    return tuple(items[:limit]), f"The first {limit:,} of {len(items):,} {what} are shown."


def name(text: str) -> str:
    """Make a name from outside one printable line of bounded length."""
    return _cut(text, LONGEST_NAME)


def words(text: str) -> str:
    """Make a text from outside one printable line of bounded length; says how long it was."""
    return _cut(text, LONGEST_TEXT)


def _cut(text: str, limit: int) -> str:
    # What lies far behind the limit is never looked at: a reason may hold megabytes.
    line = plain(text[: 4 * limit])
    if len(line) <= limit and len(text) <= 4 * limit:
        return line
    return f"{line[:limit]}… ({len(text):,} characters)"
