"""Questions to the tables: which series there are, and the newest points of one.

A series is one cell on one machine (fingerprint). Both questions are answered from `stepbench_records_series` alone, so
that they take the same time with a thousand records as with a million.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, select

from bench.core.cell import Cell
from bench.core.errors import NothingMeasuredError, UsageError
from bench.core.history import AcceptedChange, HistoryPoint, Trend
from bench.core.jsonio import from_json
from bench.store.history.accepted import Descendants, is_named, marks
from bench.store.history.schema import cells, environments, records

STEP = "step_median_seconds"
_MANY = 500
_INTERVAL = {STEP: ("step_low_seconds", "step_high_seconds", "step_n_effective")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One cell on one machine.

    Attributes:
        cell: None where it is no cell of ours, or one that this stepbench does not understand.
        count: Measurements of it, whatever their outcome.
        newest_at: When the newest was started.
    """

    key: str
    name: str
    cell: Cell | None
    fingerprint: str | None
    machine: str
    count: int
    newest_at: datetime


def find_series(connection: Connection, pattern: str | None = None) -> tuple[Series, ...]:
    """Find the series of the cells that a pattern means, by name; all without one.

    Raises:
        NothingMeasuredError: The history is empty, or no measurement of these cells is left.
        UsageError: No cell is meant.
    """
    named = {row.key: row for row in connection.execute(select(cells).order_by(cells.c.name, cells.c.key))}
    if not named:
        raise NothingMeasuredError("the history is empty; fill it with `bench history ingest`")
    wanted = [key for key, row in named.items() if pattern is None or is_named(pattern, key=key, name=row.name)]
    if not wanted:
        some = ", ".join(row.name for row in list(named.values())[:3])
        raise UsageError(f"no cell {pattern!r} among {len(named)}; there are for example {some}")
    machines = {row.fingerprint: row.machine for row in connection.execute(select(environments))}
    columns = (records.c.cell_key, records.c.fingerprint)
    question = select(*columns, func.count().label("n"), func.max(records.c.started_at).label("newest"))
    if len(wanted) <= _MANY:
        question = question.where(records.c.cell_key.in_(wanted))
    found: dict[str, list[Series]] = {key: [] for key in wanted}
    for key, fingerprint, count, newest in connection.execute(question.group_by(*columns)):
        if key in found:
            cell = named[key]
            found[key].append(
                Series(
                    key=key,
                    name=cell.name,
                    cell=_cell(cell.axes),
                    fingerprint=fingerprint,
                    machine=machines.get(fingerprint, "unknown machine"),
                    count=count,
                    newest_at=newest,
                )
            )
    ordered = tuple(
        series for key in wanted for series in sorted(found[key], key=lambda s: (s.newest_at, s.fingerprint or ""))
    )
    if not ordered:
        raise NothingMeasuredError("every measurement of these cells was pruned; `bench history ingest --pruned` helps")
    return ordered


def read_rows(
    connection: Connection, series: Series, columns: Sequence[str], last: int
) -> tuple[Mapping[str, Any], ...]:
    """Read the newest measurements of a series, oldest first: these columns and what names a measurement."""
    names = ("started_at", "git_commit", "git_dirty", "outcome", "reason", "run_id", "path", *columns)
    same = records.c.fingerprint == series.fingerprint
    if series.fingerprint is None:
        same = records.c.fingerprint.is_(None)
    question = (
        select(*(records.c[name] for name in dict.fromkeys(names)))
        .where(records.c.cell_key == series.key, same)
        .order_by(records.c.started_at.desc(), records.c.id.desc())
        .limit(last)
    )
    return tuple(reversed([dict(row) for row in connection.execute(question).mappings()]))


def read_trend(
    connection: Connection,
    series: Series,
    metric: str,
    last: int,
    *,
    accepted: Sequence[AcceptedChange],
    descendants: Descendants | None,
) -> Trend:
    """Read the newest points of one metric of a series, with the accepted changes among them."""
    interval = _INTERVAL.get(metric, ())
    rows = read_rows(connection, series, (metric, *interval), last)
    commits = [row["git_commit"] for row in rows]
    return Trend(
        cell_id=series.name,
        cell_key=series.key,
        cell=series.cell,
        fingerprint=series.fingerprint,
        machine=series.machine,
        metric=metric,
        count=series.count,
        points=tuple(_point(row, metric, interval) for row in rows),
        accepted=marks(accepted, commits, key=series.key, name=series.name, metric=metric, descendants=descendants),
    )


def _point(row: Mapping[str, Any], metric: str, interval: Sequence[str]) -> HistoryPoint:
    low, high, worth = (row[name] for name in interval) if interval else (None, None, None)
    return HistoryPoint(
        started_at=when(row["started_at"]),
        value=row[metric],
        low=low,
        high=high,
        n_effective=worth,
        commit=row["git_commit"],
        is_dirty=row["git_dirty"],
        outcome=row["outcome"],
        reason=row["reason"],
        run=row["run_id"],
        path=row["path"],
    )


def when(moment: datetime) -> str:
    """Write a moment as ISO 8601 in UTC, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _cell(axes: Any) -> Cell | None:
    try:
        return from_json(Cell, axes) if axes else None
    except ValueError:  # an axis that a newer stepbench has
        return None
