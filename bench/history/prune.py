"""Take old measurements out of a history: by age, by number per series, by commits that nobody can reach any more.

Planned first, done when asked. What is taken out is remembered by its address, or the next ingest would bring it back.
Measurements at accepted commits stay: they are where a baseline begins. Raw run folders stay too, unless asked for, and
then only folders of which every record was pruned.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, insert, not_, or_, select

from bench.core.errors import HistoryError, StoreError
from bench.core.history import AcceptedChange, Pruned
from bench.history.accepted import is_named
from bench.history.database import History
from bench.history.queries import when
from bench.history.schema import cells, pruned, records, runs
from bench.store.codec import digest, parse_file
from bench.store.records import RunFolder

_ASKED = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may go: a measurement that any of these reaches.

    Attributes:
        older_than_seconds: Before now.
        keep: Newest measurements that stay of each cell on each machine.
        reachable: Commits that are still there; a measurement at another one may go, one without a commit stays.
    """

    older_than_seconds: float | None = None
    keep: int | None = None
    reachable: frozenset[str] | None = None


def prune(
    history: History,
    limits: Limits,
    *,
    accepted: Sequence[AcceptedChange] = (),
    does: bool = False,
    with_folders: bool = False,
    now: datetime | None = None,
) -> Pruned:
    """Plan what goes, and take it out where `does` says so.

    Raises:
        HistoryError: No limit was given.
    """
    if limits == Limits():
        raise HistoryError("prune what? Give --older-than, --keep or --unreachable")
    with history.writing() if does else history.reading() as connection:
        reached = _reached(connection, limits, now or datetime.now(UTC))
        protected = _protected(connection, accepted)
        goes = reached if protected is None else and_(reached, not_(protected))
        plan = _plan(connection, goes, and_(reached, protected) if protected is not None else None, does)
        paths = _paths(connection, plan.runs) if with_folders else ()
        if does:
            _take_out(connection, goes, plan.runs)
    if not with_folders:
        return plan
    folders, problems = _folders(history, paths, does)
    return replace(plan, folders=folders, problems=problems)


def _reached(connection: Connection, limits: Limits, now: datetime) -> ColumnElement[bool]:
    found: list[ColumnElement[bool]] = []
    if limits.older_than_seconds is not None:
        found.append(records.c.started_at < now - timedelta(seconds=limits.older_than_seconds))
    if limits.keep is not None:
        series = (records.c.cell_key, records.c.fingerprint)
        newest_first = (records.c.started_at.desc(), records.c.id.desc())
        place = func.row_number().over(partition_by=series, order_by=newest_first).label("place")
        ranked = select(records.c.id, place).subquery()
        found.append(records.c.id.in_(select(ranked.c.id).where(ranked.c.place > limits.keep)))
    if limits.reachable is not None:
        known = connection.scalars(select(records.c.git_commit).distinct().where(records.c.git_commit.is_not(None)))
        gone = sorted(set(known) - limits.reachable)
        found.append(records.c.id.is_(None))  # nothing, where every commit is still there
        # NULL is neither in a list nor outside of it: `is_not(None)` makes it false, and its negation true
        found += [and_(records.c.git_commit.is_not(None), records.c.git_commit.in_(part)) for part in _parts(gone)]
    return or_(*found)


def _protected(connection: Connection, accepted: Sequence[AcceptedChange]) -> ColumnElement[bool] | None:
    """Mean the measurements at accepted commits; None where there are none."""
    if not accepted:
        return None
    named = connection.execute(select(cells.c.key, cells.c.name)).all()
    commit = func.coalesce(records.c.git_commit, "")
    found = [
        and_(commit.startswith(change.commit, autoescape=True), records.c.cell_key.in_(part))
        for change in accepted
        for part in _parts([key for key, name in named if is_named(change.cell, key=key, name=name)])
    ]
    return or_(*found) if found else None


def _plan(
    connection: Connection, goes: ColumnElement[bool], stays: ColumnElement[bool] | None, is_done: bool
) -> Pruned:
    r = records.c
    count, of_cells, oldest, newest = connection.execute(
        select(func.count(), func.count(r.cell_key.distinct()), func.min(r.started_at), func.max(r.started_at)).where(goes)
    ).one()
    is_left = exists().where(records.c.run_id == runs.c.id, not_(goes))
    is_touched = exists().where(records.c.run_id == runs.c.id, goes)
    emptied = connection.scalars(select(runs.c.id).where(is_touched, not_(is_left)).order_by(runs.c.id)) if count else ()
    return Pruned(
        is_done=is_done,
        records=count,
        of=connection.scalar(select(func.count()).select_from(records)) or 0,
        cells=of_cells,
        kept_accepted=0 if stays is None else connection.scalar(select(func.count()).where(stays)) or 0,
        oldest=when(oldest) if oldest else None,
        newest=when(newest) if newest else None,
        runs=tuple(emptied),
    )


def _take_out(connection: Connection, goes: ColumnElement[bool], emptied: Sequence[str]) -> None:
    connection.execute(insert(pruned).from_select(["digest"], select(records.c.digest).where(goes)))
    connection.execute(delete(records).where(records.c.digest.in_(select(pruned.c.digest))))
    for part in _parts(emptied):
        connection.execute(delete(runs).where(runs.c.id.in_(part)))


def _paths(connection: Connection, emptied: Sequence[str]) -> tuple[Path, ...]:
    found: list[str] = []
    for part in _parts(emptied):
        question = select(runs.c.path).where(runs.c.id.in_(part), runs.c.kind == "stepbench")
        found += connection.scalars(question)
    return tuple(map(Path, found))


def _folders(history: History, paths: Sequence[Path], does: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Remove the raw folders of emptied runs; one with a record that the history never saw stays."""
    removed, problems = [], []
    for path in paths:
        try:
            if not path.exists():
                continue
            folder = RunFolder.open(path)
            with folder.locked():
                strangers = _strangers(history, folder) if does else 0
                if strangers:
                    raise StoreError(f"{path} stays: {strangers} of its records are not in the history; ingest it first")
                if does:
                    shutil.rmtree(path)
            removed.append(str(path))
        except StoreError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"cannot remove {path}: {error.strerror}")
    return tuple(removed), tuple(problems)


def _strangers(history: History, folder: RunFolder) -> int:
    """Count the record files that were not pruned."""
    found = [digest(parse_file(file)) for file in folder.records_path.glob("*.json")]
    known: set[str] = set()
    with history.reading() as connection:
        for part in _parts(found):
            known |= set(connection.scalars(select(pruned.c.digest).where(pruned.c.digest.in_(part))))
    return len(set(found) - known)


def _parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _ASKED):
        yield values[start : start + _ASKED]
