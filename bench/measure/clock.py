"""Clocks that mark borders and are read later, so that nothing but the mark stands inside a timed loop."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from bench.core.errors import UsageError
from bench.device.backend import Backend, backend_of
from bench.device.readings import Glance


class Clock(Protocol):
    """Marks points in time; the durations between them are collected at the end of a block."""

    name: str
    """`host` or `device`, as in `Sample.clock`."""

    @property
    def launch_seconds(self) -> float | None:
        """What the last lead-in took to launch, on an accelerator with an empty queue; None if there was none."""

    @property
    def glances(self) -> Sequence[Glance]:
        """Looks at the device, one per block, taken while it worked at the last steps; empty if it failed."""

    def start(self, lead_in: Callable[[], object] | None = None) -> None:
        """Forget old marks, wait for the device, run `lead_in`, set the first mark.

        The device is not waited for again: it still works at the lead-in when it meets the first mark, so its queue is
        as full as in the middle of a training.
        """

    def mark(self) -> None:
        """Set a mark. Never synchronises: on an accelerator the device passes it later."""

    def end_step(self) -> None:
        """Set the mark at the end of a step; what a clock does between two steps follows."""

    def collect(self) -> tuple[list[float], list[float]]:
        """Wait for the last mark; return the seconds between successive marks, and the host's seconds beside them.

        The second list is empty where the host's clock is the clock.
        """


class HostClock:
    """`perf_counter_ns`; for the CPU, where a call returns when the work is done."""

    name = "host"
    launch_seconds: float | None = None
    glances: Sequence[Glance] = ()

    def __init__(self) -> None:
        self._marks: list[int] = []

    def start(self, lead_in: Callable[[], object] | None = None) -> None:
        """Forget old marks, run the lead-in, set the first."""
        if lead_in is not None:
            lead_in()
        self._marks.clear()
        self.mark()

    def mark(self) -> None:
        """Note the time."""
        self._marks.append(time.perf_counter_ns())

    end_step = mark  # the same function: a second call would stand in every step

    def collect(self) -> tuple[list[float], list[float]]:
        """Return the seconds between successive marks."""
        return _differences(self._marks), []


class DeviceClock:
    """Events on the device's stream, with the host's time beside each; synchronises in `start` and `collect` only."""

    name = "device"

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._events: list[Any] = []
        self._used: list[Any] = []
        self._host_marks: list[int] = []
        self.launch_seconds: float | None = None
        self.glances: list[Glance] = []
        self._counters = contextlib.ExitStack()
        self._counters.enter_context(backend.opened())

    def start(self, lead_in: Callable[[], object] | None = None) -> None:
        """Synchronise, forget old marks, run the lead-in and keep it queued, set the first mark."""
        self._backend.synchronize()
        self._used += self._events
        self._events.clear()
        self._host_marks.clear()
        self.launch_seconds = None
        if lead_in is not None:
            started = time.perf_counter_ns()
            lead_in()
            self.launch_seconds = (time.perf_counter_ns() - started) / 1e9
        self.mark()

    def mark(self) -> None:
        """Record an event into the current stream and note the host's time."""
        self._events.append(self._backend.mark(self._used.pop() if self._used else None))
        self._host_marks.append(time.perf_counter_ns())

    end_step = mark

    def collect(self) -> tuple[list[float], list[float]]:
        """Synchronise; return the device's seconds between events, and the host's between the same marks.

        Before, with all marks set and work still queued, glances at the device's clock.
        """
        self.glances.append(self._backend.glance() or Glance())
        self._backend.synchronize()
        seconds = [self._backend.seconds_between(start, end) for start, end in itertools.pairwise(self._events)]
        return seconds, _differences(self._host_marks)


class ColdClock:
    """A clock that empties the device's last cache before every step, outside the step's marks."""

    def __init__(self, clock: Clock, device: str) -> None:
        """Allocate what fills the cache.

        Raises:
            UsageError: Nobody tells how large the cache is.
        """
        size = backend_of(device).cache_bytes()
        if not size:
            raise UsageError(f"--cold-cache needs the size of the last cache, which {device} does not tell")
        self._clock, self.name = clock, clock.name
        self._empty = cache_filler(2 * size, device)
        self._between: set[int] = set()
        self._marks = 0

    @property
    def launch_seconds(self) -> float | None:
        """What the lead-in took to launch, with one kernel that fills the cache."""
        return self._clock.launch_seconds

    @property
    def glances(self) -> Sequence[Glance]:
        """Looks at the device."""
        return self._clock.glances

    def start(self, lead_in: Callable[[], object] | None = None) -> None:
        """Run the lead-in, empty the cache, set the first mark."""
        self._between.clear()
        self._marks = 0

        def lead() -> None:
            if lead_in is not None:
                lead_in()
            self._empty()

        self._clock.start(lead)

    def mark(self) -> None:
        """Set a mark."""
        self._clock.mark()
        self._marks += 1

    def end_step(self) -> None:
        """Set the mark, empty the cache for the next step, and set the mark where it begins."""
        self.mark()
        self._empty()
        self._between.add(self._marks)
        self.mark()

    def collect(self) -> tuple[list[float], list[float]]:
        """Return the seconds between marks, without those between two steps."""
        seconds, host_seconds = self._clock.collect()
        return self._steps_of(seconds), self._steps_of(host_seconds)

    def _steps_of(self, seconds: list[float]) -> list[float]:
        return [one for index, one in enumerate(seconds) if index not in self._between]


def cache_filler(size: int, device: str) -> Callable[[], object]:
    """Return what reads and writes so many bytes: then they are what the device's cache holds."""
    import torch

    values = torch.zeros(size // 4, device=device)
    return lambda: values.add_(1.0)


def clock_for(device: str) -> Clock:
    """Choose the clock that can see work on this device end."""
    backend = backend_of(device)
    return DeviceClock(backend) if backend.is_asynchronous else HostClock()


def _differences(nanoseconds: list[int]) -> list[float]:
    return [(end - start) / 1e9 for start, end in itertools.pairwise(nanoseconds)]
