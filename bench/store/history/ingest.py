"""Rows into the tables, each measurement once: by the address of its content, whoever ingests it and how often.

    for each source: list its measurements, leave out what the history has or had pruned, make rows of the rest
    rows in batches, one transaction each: runs, cells, environments, records; a row that is there already is left alone

Every process inserts in the same order of tables and, within each, of keys, so that two that ingest the same things at
once wait for each other and never deadlock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from bench.core.progress import tell
from bench.store.history.database import History
from bench.store.history.reading import read_sources
from bench.store.history.schema import cells, environments, pruned, records, runs
from bench.store.history.sources import Entry, Row, find_sources

BATCH = 2000
"""Rows per transaction."""

_ASKED = 900
"""Addresses per question; SQLite before 3.32 takes 999 variables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """What came of it.

    Attributes:
        sources: Runs and files that were looked at.
        added: Records that are new.
        known: Records that were there already.
        pruned: Records that were left out because they had been pruned.
        problems: One line per file, run or folder that could not be read; the others are in.
    """

    where: str
    sources: int = 0
    added: int = 0
    known: int = 0
    pruned: int = 0
    problems: tuple[str, ...] = ()


def ingest(
    history: History,
    given: Sequence[str] = (),
    *,
    results: Path = Path("results"),
    takes_back: bool = False,
) -> Ingested:
    """Ingest runs and files of pytest-benchmark.

    Args:
        history: Open.
        given: Runs by folder, id or `latest`; folders of runs; files. Nothing is every run in `results`.
        results: Where ids are looked up.
        takes_back: Also what was pruned.
    """
    sources, found = find_sources(given, results)
    problems = [str(problem) for problem in found]
    added = known = left_out = 0
    batch: list[Entry] = []

    def choose(digests: Sequence[str]) -> set[str]:
        """Return those that shall be made."""
        nonlocal known, left_out
        had, gone = _known(history, digests)
        known += sum(digest in had for digest in digests)
        left_out += 0 if takes_back else len(gone)
        return set(digests) - had - (set() if takes_back else gone)

    done = -1
    for read in read_sources(sources, choose):
        if read.done > done:
            done = read.done
            tell("reading", done, len(sources))
        problems += read.problems
        batch += read.entries
        if len(batch) >= BATCH:
            inserted = add_entries(history, batch, takes_back=takes_back)
            added, known, batch = added + inserted, known + len(batch) - inserted, []
    inserted = add_entries(history, batch, takes_back=takes_back)
    return Ingested(
        where=history.where,
        sources=len(sources),
        added=added + inserted,
        known=known + len(batch) - inserted,
        pruned=left_out,
        problems=tuple(problems),
    )


def add_entries(history: History, entries: Sequence[Entry], *, takes_back: bool = False) -> int:
    """Insert entries in one transaction; return how many records were new."""
    if not entries:
        return 0
    with history.writing() as connection:
        _insert(connection, runs, {e.run["id"]: e.run for e in entries})
        _insert(connection, cells, {e.cell["key"]: e.cell for e in entries})
        _insert(
            connection, environments, {e.environment["fingerprint"]: e.environment for e in entries if e.environment}
        )
        rows = {e.record["digest"]: e.record for e in entries}
        for part in _parts(list(rows) if takes_back else ()):
            connection.execute(delete(pruned).where(pruned.c.digest.in_(part)))
        return _insert(connection, records, rows)


def _insert(connection: Connection, table: Table, rows: dict[str, Row]) -> int:
    """Insert rows in the order of their keys, and leave alone what is there; return how many were new."""
    if not rows:
        return 0
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).on_conflict_do_nothing()
    ordered = [dict(rows[key]) for key in sorted(rows)]
    done = connection.execute(statement, ordered, execution_options={"preserve_rowcount": True})
    return int(done.rowcount)


def _known(history: History, digests: Sequence[str]) -> tuple[set[str], set[str]]:
    """Return which of these the history has, and which were pruned."""
    had: set[str] = set()
    gone: set[str] = set()
    with history.reading() as connection:
        for part in _parts(digests):
            had |= set(connection.scalars(select(records.c.digest).where(records.c.digest.in_(part))))
            gone |= set(connection.scalars(select(pruned.c.digest).where(pruned.c.digest.in_(part))))
    return had, gone - had


def _parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _ASKED):
        yield values[start : start + _ASKED]
