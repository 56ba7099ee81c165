"""Read sources into entries; thousands of files by as many processes as there are cores.

Each process takes a part of every run's files, and asks the one that holds the database what the history lacks, before
it understands and summarises a record.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import cast

from bench.core.errors import StoreError
from bench.store.history.sources import Entry, list_source

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
    workers: dict[Connection, ForkProcess] = {}
    try:
        for part in range(parts):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_serve, args=(theirs, ours, sources, part, parts))
            worker.start()
            theirs.close()
            workers[ours] = worker
        done = dict.fromkeys(workers, 0)
        while done:
            for connection in cast(list[Connection], wait(list(done))):
                try:
                    said = connection.recv()
                except EOFError:
                    workers[connection].join()
                    code = workers[connection].exitcode
                    raise StoreError(f"a process that read records died (exit code {code}); ingest again") from None
                if isinstance(said, Read):
                    done[connection] = said.done
                    yield replace(said, done=min(done.values()))
                elif said is None:
                    del done[connection]
                else:
                    connection.send(choose(said))
    finally:
        for connection, worker in workers.items():
            connection.close()
            worker.kill()
            worker.join()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1  # elsewhere numpy may not survive a fork


def _count_files(source: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(1 for _ in (source / "records").iterdir())
    return 1


def _serve(connection: Connection, others_end: Connection, sources: Sequence[Path], part: int, parts: int) -> None:
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
