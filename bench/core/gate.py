"""Counters of a cell on record, and what a gate says of the same cell counted again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bench.core.cell import Cell


class GateVerdict(StrEnum):
    """Only SAME and LESS pass. LESS should be put on record, so that the gain cannot be lost again unseen."""

    SAME = "same"
    LESS = "less"
    MORE = "more"
    MISSING = "missing"  # counted, but not on record
    EXTRA = "extra"  # on record, but no cell of the suite
    UNCOUNTED = "uncounted"  # the cell could not be counted


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterRow:
    """The deterministic counters of one cell: one line of `counters.csv` and its lines of `dispatches.csv`.

    Attributes:
        suite: Name of the suite that holds the cell.
        torch: `major.minor`: another minor version may dispatch other operations.
        cell: With the kind of device only, and without what changes no count (threads, seed).
        counters: Name and value, in the order of the columns; None is not counted.
        dispatches: Operation and calls of one step, sorted by name.
    """

    suite: str
    torch: str
    cell: Cell
    counters: tuple[tuple[str, int | None], ...]
    dispatches: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterChange:
    """One counter, or the calls of one operation, on record and found."""

    name: str
    expected: int | None
    found: int | None

    @property
    def is_more(self) -> bool:
        """Whether it grew; what was counted and no longer is counts as grown, because it hides."""
        if self.expected is None:
            return False
        return self.found is None or self.found > self.expected

    @property
    def fraction(self) -> float | None:
        """Change relative to what is on record: 0.05 is 5 % more; None where that has no meaning."""
        if not self.expected or self.found is None:
            return None
        return self.found / self.expected - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRow:
    """What the gate says of one cell.

    Attributes:
        expected: Counts on record; None if there is no such row.
        found: Counts of today, the row to commit; None if there is no such cell, or it could not be counted.
        counters: Counters that changed.
        operations: Operations whose calls changed.
        reason: Why the cell could not be counted.
    """

    verdict: GateVerdict
    expected: CounterRow | None = None
    found: CounterRow | None = None
    counters: tuple[CounterChange, ...] = ()
    operations: tuple[CounterChange, ...] = ()
    reason: str | None = None

    @property
    def cell(self) -> Cell:
        """Return the cell this is about."""
        row = self.found or self.expected
        assert row is not None
        return row.cell

    @property
    def is_passing(self) -> bool:
        """Whether the gate stays open for this cell."""
        return self.verdict in (GateVerdict.SAME, GateVerdict.LESS)
