"""Test the verdicts on this machine: unchanged code must raise no alarm, a real slowdown must be found.

Of every step, and of one step in 20 by as much on average, which the undisturbed step does not show.

The slowdown is no number added afterwards: every step of one side really waits, by a busy loop, for a share of the time
that this very step took; on a device, of the time that the warm-up measured.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.core.comparison import Comparison, ComparisonVerdict
from bench.runner.ab.run import Compared, Request, Started, compare_sides
from bench.runner.ab.stages import Progress

EVERY = 20
"""Of the third comparison, one step in so many is slower."""

ALARMS = frozenset({ComparisonVerdict.SLOWER, ComparisonVerdict.FASTER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Selftest:
    """What both comparisons found.

    Attributes:
        unchanged: Comparisons of the code with itself.
        injected: Comparisons of the code with itself, one side slowed down.
        on_average: The same with one step in `EVERY` slowed down, by as much on average.
        asked: Log-ratio that was to be added.
        added: By cell key, the log-ratio that was really added: busy time over the base's step.
    """

    unchanged: tuple[Comparison, ...]
    injected: tuple[Comparison, ...]
    on_average: tuple[Comparison, ...]
    asked: float
    added: dict[str, float]
    unfit: str | None
    seconds: float

    @property
    def alarms(self) -> tuple[Comparison, ...]:
        """Cells that were called slower or faster although nothing changed."""
        return tuple(c for c in self.unchanged if c.verdict in ALARMS)

    @property
    def missed(self) -> tuple[Comparison, ...]:
        """Cells whose slowdown was not found."""
        return tuple(c for c in (*self.injected, *self.on_average) if c.verdict is not ComparisonVerdict.SLOWER)

    @property
    def is_passed(self) -> bool:
        """Whether there was no alarm, and nothing was missed."""
        return not self.alarms and not self.missed and bool(self.injected)


def selftest(request: Request, slowdown: float, listen: Callable[[Started | Progress], None]) -> Selftest:
    """Compare unchanged code with itself, then with two slowed copies of itself.

    Raises:
        BenchError: See `compare_sides`.
    """
    unchanged = compare_sides(request, listen)
    settings = replace(request.settings, seed=request.settings.seed + 1, slow=(("head", slowdown),))
    injected = compare_sides(replace(request, settings=settings), listen)
    settings = replace(settings, seed=settings.seed + 1, slow_every=EVERY)
    on_average = compare_sides(replace(request, settings=settings), listen)
    return Selftest(
        unchanged=unchanged.comparisons,
        injected=injected.comparisons,
        on_average=on_average.comparisons,
        asked=math.log1p(slowdown),
        added=added_shifts(injected, slowdown),
        unfit=unchanged.unfit or injected.unfit or on_average.unfit,
        seconds=unchanged.seconds + injected.seconds + on_average.seconds,
    )


def added_shifts(compared: Compared, slowdown: float) -> dict[str, float]:
    """Return by cell key the log-ratio that waiting really added: on the host exactly what was asked for."""
    shifts = {}
    for comparison in compared.comparisons:
        good = [
            one
            for session in compared.sessions
            for one in session.cells
            if one.cell.key == comparison.cell_key and one.void is None and one.quads
        ]
        if not good or comparison.base is None:
            continue
        is_exact = all(quad.clock == "host" for one in good for quad in one.quads)
        waited = statistics.median(one.added_seconds for one in good) / comparison.base.point
        shifts[comparison.cell_key] = math.log1p(slowdown if is_exact else waited)
    return shifts
