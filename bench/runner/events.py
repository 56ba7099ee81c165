"""What observers of a run hear. The scheduler prints nothing; progress bars and logs listen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.core.cell import Cell
from bench.core.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The folder is made and the cells are known; at most `most` are measured now, and none begins after `until`."""

    folder: Path
    cells: tuple[Cell, ...]
    most: int
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResumed:
    """A run is resumed; comes before `RunStarted`, which has the cells that are left.

    Attributes:
        kept: How many records stand as they are.
        again: Why cells are measured, and how many.
        problems: One line per record file that could not be read.
    """

    folder: Path
    kept: int
    again: tuple[tuple[str, int], ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPrepared:
    """A cell was counted; none is timed yet."""

    cell: Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class CellStarted:
    """A cell begins; `index` counts from 0."""

    cell: Cell
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFinished:
    """A cell has ended and its record is on disk."""

    record: Record
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """All cells have ended, or the run was interrupted."""

    folder: Path
    records: tuple[Record, ...]
    is_complete: bool


Event = RunResumed | RunStarted | CellPrepared | CellStarted | CellFinished | RunFinished
Observer = Callable[[Event], None]
