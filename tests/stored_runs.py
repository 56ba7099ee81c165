"""Stored runs, made in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.core.cell import Cell
from bench.core.environment import Environment
from bench.store.runs import RunInfo
from bench.store.stored import StoredRun


def make_run(
    id: str = "run",  # noqa: A002 - the field of RunInfo
    *,
    started_at: str = "",
    command: tuple[str, ...] = (),
    environment: Environment | None = None,
    missing: tuple[Cell, ...] = (),
    **found: Any,
) -> StoredRun:
    """Make a run of fields of `RunInfo` and `StoredRun`; `missing` are planned cells without a record."""
    cells = (*(record.cell for record in found.get("records", ())), *missing)
    info = RunInfo(id=id, started_at=started_at, command=command, environment=environment, cells=cells)
    return StoredRun(info=info, folder=Path(id), **found)
