"""Remove old measurements from a history: by age, by number per series, by commits that nobody can reach any more.

Planned first, done when asked. What is taken out is remembered by its address, or the next ingest would bring it back.
Measurements at accepted commits stay: they are where a baseline begins. Raw run folders stay too, unless asked for, and
then only folders of which every record was pruned.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, insert, not_, or_, select

from bench.core.errors import StoreError, UsageError
from bench.core.history import AcceptedChange, Pruned
from bench.store.codec import digest, parse_file
from bench.store.history.accepted import is_named
from bench.store.history.database import History, parts_of
from bench.store.history.queries import when
from bench.store.history.schema import cells, pruned, records, runs
from bench.store.runs import RunFolder, run_paths


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
    folders_in: Path | None = None,
    now: datetime | None = None,
) -> Pruned:
    """Plan what goes, and take it out where `does` says so; measurements at accepted commits stay.

    With `folders_in` go the raw run folders in it, too, of which every record was pruned, now or before.

    Raises:
        UsageError: No limit was given.
    """
    if limits == Limits():
        raise UsageError("prune what? Give --older-than, --keep or --unreachable")
    with history.writing() if does else history.reading() as connection:
        reached = _reached(connection, limits, now or datetime.now(UTC))
        protected = _protected(connection, accepted)
        goes = reached if protected is None else and_(reached, not_(protected))
        plan = _plan(connection, goes, and_(reached, protected) if protected is not None else None, does)
        folders = [] if folders_in is None else _emptied_folders(connection, goes, folders_in)
        if does:
            _take_out(connection, goes, plan.runs)
    problems: list[str] = []
    if does:
        folders, problems = _remove(folders)
    return replace(plan, folders=tuple(map(str, folders)), problems=tuple(problems))


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
        found += [and_(records.c.git_commit.is_not(None), records.c.git_commit.in_(part)) for part in parts_of(gone)]
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
        for part in parts_of([key for key, name in named if is_named(change.cell, key=key, name=name)])
    ]
    return or_(*found) if found else None


def _plan(
    connection: Connection, goes: ColumnElement[bool], stays: ColumnElement[bool] | None, is_done: bool
) -> Pruned:
    r = records.c
    count, of_cells, oldest, newest = connection.execute(
        select(func.count(), func.count(r.cell_key.distinct()), func.min(r.started_at), func.max(r.started_at)).where(
            goes
        )
    ).one()
    is_left = exists().where(records.c.run_id == runs.c.id, not_(goes))
    is_touched = exists().where(records.c.run_id == runs.c.id, goes)
    emptied = (
        connection.scalars(select(runs.c.id).where(is_touched, not_(is_left)).order_by(runs.c.id)) if count else ()
    )
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
    for part in parts_of(emptied):
        connection.execute(delete(runs).where(runs.c.id.in_(part)))


def _emptied_folders(connection: Connection, goes: ColumnElement[bool], results: Path) -> list[Path]:
    """Find the run folders of which every record was pruned or goes now; one with a stranger or without records stays.

    The folders are looked up here, not in the history: a path that someone else wrote there must never be removed.
    """
    found = []
    for path in run_paths(results):
        files = list((path / "records").glob("*.json"))
        try:
            digests = [digest(parse_file(file)) for file in files]
        except StoreError:
            continue
        gone: set[str] = set()
        for part in parts_of(digests):
            gone |= set(connection.scalars(select(pruned.c.digest).where(pruned.c.digest.in_(part))))
            gone |= set(connection.scalars(select(records.c.digest).where(records.c.digest.in_(part), goes)))
        if digests and gone.issuperset(digests):
            found.append(path)
    return found


def _remove(folders: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Remove run folders; return those that went, and why the others stay."""
    removed, problems = [], []
    for path in folders:
        try:
            with RunFolder.open(path).locked():
                shutil.rmtree(path)
            removed.append(path)
        except StoreError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"cannot remove {path}: {error.strerror}")
    return removed, problems
