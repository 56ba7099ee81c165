"""Whom a timed step has to wait for: nobody, or the other ranks of its cell."""

from __future__ import annotations

from typing import Protocol


class Team(Protocol):
    """The ranks that take the same steps; asked between blocks only, never inside a timed one."""

    def wait(self) -> None:
        """Wait until every rank is here."""

    def agree(self, seconds: list[float]) -> list[float]:
        """Return the seconds of the steps just taken, of all ranks as one: the same floats on every rank.

        Whatever decides how many steps follow looks at these only, or the ranks would part.
        """


class Alone:
    """A step of one process."""

    def wait(self) -> None:
        """Wait for nobody."""

    def agree(self, seconds: list[float]) -> list[float]:
        """Return them as they are."""
        return seconds
