"""Report to listeners how far a command is, without handing a callback through every function.

A runner tells; the command line listens. What nobody listens to costs nothing. Nothing timed tells anything.
A fresh process says what it expects to take; the parent, which would kill it after a time, listens.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")

Listener = Callable[[str, int, int | None], None]
"""Called with what is being done, how much of it is done, and how much there is (None if unknown)."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
_patience: ContextVar[Callable[[float], None] | None] = ContextVar("patience", default=None)


def tell(what: str, done: int = 0, total: int | None = None) -> None:
    """Report what is being done now."""
    listener = _listener.get()
    if listener is not None:
        listener(what, done, total)


def told(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Pass items on, and tell after each how many there were."""
    tell(what, 0, total)
    for done, item in enumerate(items, start=1):
        tell(what, done, total)
        yield item


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have `listener` called inside."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


_SAY_SECONDS = 0.1


def expect(seconds: float = 0.0) -> None:
    """Say that the work goes on, and may take so much longer than usual; whoever would end it begins to wait anew."""
    patience = _patience.get()
    if patience is not None:
        patience(seconds)


def is_waited_for() -> bool:
    """Whether anybody listens to what is expected."""
    return _patience.get() is not None


@contextlib.contextmanager
def waited_for(patience: Callable[[float], None]) -> Iterator[None]:
    """Have `patience` called inside with what is expected; that the work goes on is said ten times a second at most."""
    said_at = -math.inf

    def sparing(seconds: float) -> None:
        nonlocal said_at
        if seconds == 0.0:
            now = time.monotonic()
            if now - said_at < _SAY_SECONDS:
                return
            said_at = now
        patience(seconds)

    token = _patience.set(sparing)
    try:
        yield
    finally:
        _patience.reset(token)
