"""Marks around the phases of a step: what an observer is told, and what a whole step ignores."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from bench.core.errors import ModelError
from bench.core.record import UNMARKED, Phase, phase_of


class Marks:
    """Tells an observer where each phase of a step begins and ends.

        with marks("forward"):
            ...

    A phase may come several times in a step, but not inside another one.
    """

    __slots__ = ("_begin", "_end", "_known", "_name", "_open")

    def __init__(
        self,
        begin: Callable[[Phase | str], object] = lambda _: None,
        end: Callable[[Phase | str], object] = lambda _: None,
    ) -> None:
        """Call `begin` and `end` with the phase; neither for a phase that raises at its end."""
        self._begin = begin
        self._end = end
        self._known: dict[str, Phase | str] = {}
        self._name: Phase | str = ""
        self._open = False

    def __call__(self, name: str) -> Marks:
        """Name the phase to be entered.

        Raises:
            ModelError: Another one has not ended, or it is no name for a phase.
        """
        if self._open:
            raise ModelError(f"phase {name!r} begins inside phase {str(self._name)!r}; phases follow one another")
        if name not in self._known:
            self._known[name] = _phase_name(name)
        self._name = self._known[name]
        return self

    def __enter__(self) -> None:
        self._open = True
        self._begin(self._name)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._open = False
        if kind is None:
            self._end(self._name)


def _phase_name(name: object) -> Phase | str:
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise ModelError(f"a phase needs a name of 1 to {_LONGEST_NAME} letters, found {name!r}")
    if name in (Phase.STEP, UNMARKED):
        raise ModelError(f"no phase can be named {name!r}, which is {_TAKEN[name]}; name it otherwise")
    return phase_of(name)


_LONGEST_NAME = 40
_TAKEN = {Phase.STEP: "the whole step", UNMARKED: "what is outside all phases"}
NOTHING = contextlib.nullcontext()


def unmarked(_name: str) -> contextlib.AbstractContextManager[Any]:
    """Mark nothing, as a whole step does."""
    return NOTHING
