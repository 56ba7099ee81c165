"""What a device tells of itself: its energy, its allocator, its clock and power; imports no torch."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Protocol


class Meter(Protocol):
    """Counts the energy that a device has used."""

    @property
    def method(self) -> str:
        """Name of what is read."""

    def read(self) -> tuple[float, ...]:
        """Read its counters, in joules; only differences mean something."""

    def between(self, before: tuple[float, ...], after: tuple[float, ...]) -> float:
        """Return the joules between two readings."""

    def opened(self) -> contextlib.AbstractContextManager[Any]:
        """Keep it open inside, so that a reading takes microseconds."""

    def watts(self) -> float | None:
        """Read the power right now; None if it only counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocatorBytes:
    """Readings of torch's allocator for a device; None for what it does not keep."""

    allocated: int | None = None
    peak_allocated: int | None = None
    peak_requested: int | None = None
    peak_reserved: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What can be read of a device in some ten microseconds, while it works.

    Attributes:
        throttle_reasons: Why its clock is lower than it could be: `thermal`, `power`, `hardware`; None if nobody tells,
            which is not the same as nothing.
    """

    clock_mhz: float | None = None
    power_watts: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
