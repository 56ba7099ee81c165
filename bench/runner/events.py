"""What observers of a run hear. The scheduler prints nothing; progress bars and logs listen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.core.cell import Cell
from bench.core.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The folder is made and the cells are known."""

    folder: Path
    cells: tuple[Cell, ...]


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


Event = RunStarted | CellPrepared | CellStarted | CellFinished | RunFinished
Observer = Callable[[Event], None]
