"""Rows into the tables, each measurement once: by the address of its content, whoever ingests it and how often.

    for each source: list its measurements, leave out what the history has or had pruned, make rows of the rest
    rows in batches, one transaction each: runs, cells, environments, records; a row that is there already is left alone

Every process inserts in the same order of tables and, within each, of keys, so that two that ingest the same things at
once wait for each other and never deadlock.

Thousands of files are read by as many processes as there are cores. Each takes a part of every run's files, and asks
the one that holds the database what the history lacks, before it understands and summarises a record.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection as PipeEnd
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from bench.core.errors import StoreError
from bench.core.progress import tell
from bench.store.history.database import History, parts_of
from bench.store.history.schema import cells, environments, pruned, records, runs
from bench.store.history.sources import Entry, Row, find_sources, list_source

BATCH = 2000
"""Rows per transaction."""


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
    """Ingest runs and files of pytest-benchmark; with `takes_back` also what was pruned.

    Runs are given by folder, id in `results` or `latest`, or as folders of runs; nothing is every run in `results`.
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
        for part in parts_of(list(rows) if takes_back else ()):
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
        for part in parts_of(digests):
            had |= set(connection.scalars(select(records.c.digest).where(records.c.digest.in_(part))))
            gone |= set(connection.scalars(select(pruned.c.digest).where(pruned.c.digest.in_(part))))
    return had, gone - had


_MANY = 2000
"""So many files are read side by side; fewer are done while processes would start."""

_MOST_PROCESSES = 8


@dataclass(frozen=True, slots=True)
class Read:
    """What was read: rows that are new, what could not be read, and how many sources are done."""

    done: int
    entries: Sequence[Entry] = ()
    problems: Sequence[str] = ()


Choose = Callable[[Sequence[str]], set[str]]


def read_sources(sources: Sequence[Path], choose: Choose) -> Iterator[Read]:
    """Read the sources, side by side where they are many."""
    parts = min(_cores(), _MOST_PROCESSES)
    if parts == 1 or sum(map(_count_files, sources)) < _MANY:
        yield from _read_part(sources, choose, 0, 1)
        return
    context = multiprocessing.get_context("fork")
    workers: dict[PipeEnd, ForkProcess] = {}
    try:
        for part in range(parts):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_serve, args=(theirs, ours, sources, part, parts))
            worker.start()
            theirs.close()
            workers[ours] = worker
        done = dict.fromkeys(workers, 0)
        while done:
            for connection in cast(list[PipeEnd], wait(list(done))):
                with _alive(workers[connection]):
                    said = connection.recv()
                if isinstance(said, Read):
                    done[connection] = said.done
                    yield replace(said, done=min(done.values()))
                elif said is None:
                    del done[connection]
                else:
                    wanted = choose(said)
                    with _alive(workers[connection]):
                        connection.send(wanted)
    finally:
        for connection, worker in workers.items():
            connection.close()
            worker.kill()
            worker.join()


@contextlib.contextmanager
def _alive(worker: ForkProcess) -> Iterator[None]:
    """Talk to a process; if it has died, say so."""
    try:
        yield
    except (EOFError, ConnectionError):
        worker.join()
        raise StoreError(f"a process that read records died (exit code {worker.exitcode}); ingest again") from None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1  # elsewhere numpy may not survive a fork


def _count_files(source: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(1 for _ in (source / "records").iterdir())
    return 1


def _serve(connection: PipeEnd, others_end: PipeEnd, sources: Sequence[Path], part: int, parts: int) -> None:
    """Read a part in a process of its own, which ends with its parent."""
    others_end.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides

    def choose(digests: Sequence[str]) -> set[str]:
        connection.send(digests)
        found: set[str] = connection.recv()
        return found

    with contextlib.suppress(ConnectionError, EOFError):  # the parent is gone
        for read in _read_part(sources, choose, part, parts):
            connection.send(read)
        connection.send(None)


def _read_part(sources: Sequence[Path], choose: Choose, part: int, parts: int) -> Iterator[Read]:
    for done, source in enumerate(sources):
        try:
            for listed, troubles in list_source(source, part, parts):
                wanted = choose([one.digest for one in listed])
                entries: list[Entry] = []
                problems = list(troubles)
                for one in listed:
                    try:
                        if one.digest in wanted:
                            entries.append(one.make())
                    except StoreError as error:
                        problems.append(str(error))
                yield Read(done, entries, problems)
        except StoreError as error:  # every part meets it
            yield Read(done, problems=(str(error),) if part == 0 else ())
        yield Read(done + 1)
