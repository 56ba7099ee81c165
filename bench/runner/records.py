"""Make records of one cell with when it started, how long it took and who measured it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from bench.core.cell import Cell
from bench.core.record import Outcome, Record
from bench.core.version import __version__


class Stamp:
    """Starts with the cell; `record` ends it."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._started_at = datetime.now(UTC)
        self._started = time.perf_counter()

    def record(self, outcome: Outcome, **found: Any) -> Record:
        """Make the cell's record; `found` are fields of Record."""
        return Record(
            cell=self._cell,
            outcome=outcome,
            started_at=self._started_at.isoformat(timespec="seconds"),
            duration_seconds=time.perf_counter() - self._started,
            stepbench=__version__,
            **found,
        )
