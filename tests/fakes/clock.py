"""A clock that moves only when it is told to, and one that says how often it was asked."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from bench.measure.clock import HostClock


class FakeClock:
    """Implements `bench.measure.clock.Clock`; starts at a random time, so that nothing may rely on time zero.

    Attributes:
        name: Written into samples, as a host clock's.
        now: Seconds; moved by `advance` only.
        calls: Names of the methods that were called, in order.
    """

    name = "host"

    def __init__(self) -> None:
        # Multiples of 2**-20 s (about a microsecond) up to 2**20 s keep sums and differences of such values exact.
        self.now = random.randrange(2**39) / 2**20
        self.calls: list[str] = []
        self._marks: list[float] = []

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    launch_seconds = None
    glances = ()

    def start(self, lead_in: Callable[[], object] | None = None) -> None:
        """Forget old marks, run the lead-in, set the first."""
        self.calls.append("start")
        if lead_in is not None:
            lead_in()
        self._marks = [self.now]

    def mark(self) -> None:
        """Note the time."""
        self.calls.append("mark")
        self._marks.append(self.now)

    def end_step(self) -> None:
        """Note the time."""
        self.mark()

    def collect(self) -> tuple[list[float], list[float]]:
        """Return the seconds between successive marks."""
        self.calls.append("collect")
        return [end - start for start, end in itertools.pairwise(self._marks)], []


class CountingHostClock(HostClock):
    """A real clock that counts how often its times were collected."""

    collected = 0

    def collect(self) -> tuple[list[float], list[float]]:
        """Return the seconds between successive marks."""
        self.collected += 1
        return super().collect()
