"""Measurements by hand: a series of days, one value each, with a commit of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.core.cell import Cell
from bench.core.environment import Environment
from bench.core.record import Record
from bench.store.history.queries import Series
from bench.store.history.schema import MEASURED
from bench.store.history.sources import Entry, entry_of
from bench.store.runs import RunFolder, RunInfo
from tests.records import ENVIRONMENT, make_record

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
CELL = Cell(model="my_net", batch_size=8)


def commit_of(day: int) -> str:
    return f"{day:08x}" * 5


def at(day: int, environment: Environment = ENVIRONMENT, **changes: Any) -> Environment:
    return replace(environment, git_commit=commit_of(day), git_dirty=False, **changes)


def record_of(day: int, model: str = "my_net", **options: Any) -> Record:
    environment = options.pop("environment", at(day))
    made = make_record(model, started_at=(BEGIN + timedelta(days=day)).isoformat(), **{"n": 8, **options})
    return replace(made, environment=environment)


def entries(days: int, model: str = "my_net", start: int = 0, **options: Any) -> list[Entry]:
    return [entry(day, record_of(day, model, **options)) for day in range(start, start + days)]


def entry(day: int, record: Record) -> Entry:
    run = {
        "id": f"run-{day}",
        "kind": "stepbench",
        "started_at": BEGIN + timedelta(days=day),
        "path": f"/results/run-{day}",
        "written_by": "stepbench 0.1.0",
    }
    address = f"{record.cell.key}{day:016x}"
    return entry_of(record, digest=address, run=run, path=f"/results/run-{day}/records/{record.cell.key}.json")


def store_run(results: Path, *records: Record) -> Path:
    info = RunInfo(started_at=records[0].started_at, cells=tuple(record.cell for record in records), stepbench="0.1.0")
    folder = RunFolder.create(results, info)
    for record in records:
        folder.append(record)
    return folder.path


SERIES = Series(
    key=CELL.key,
    name=CELL.id,
    cell=CELL,
    fingerprint=ENVIRONMENT.fingerprint,
    machine="Test CPU",
    count=100,
    newest_at=BEGIN,
)


def rows_of(values: Sequence[float | None], **columns: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows as `read_rows` gives them: one per day with its step, and other columns where they are given."""
    rows = []
    for day, value in enumerate(values):
        row = {
            **dict.fromkeys(MEASURED),
            "started_at": BEGIN + timedelta(days=day),
            "git_commit": commit_of(day),
            "git_dirty": False,
            "outcome": "ok",
            "reason": None,
            "run_id": f"run-{day}",
            "path": "",
            "step_median_seconds": value,
        }
        rows.append({**row, **{name: given[day] for name, given in columns.items()}})
    return rows
