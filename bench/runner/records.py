"""Who measured what and when: the head of a run's folder, of its resumption, of a record; where traces lie."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from bench.core import __version__
from bench.core.cell import Cell
from bench.core.record import Outcome, Record
from bench.core.text import plain
from bench.core.units import now
from bench.runner.endings import Ending
from bench.store.atomic import make_folder
from bench.store.runs import Resumption, RunFolder, RunInfo


def describe_run(**plan: Any) -> RunInfo:
    """Describe a run that starts now, by this command line; `plan` are further fields of `RunInfo`."""
    return RunInfo(started_at=now(), command=tuple(sys.argv), stepbench=__version__, **plan)


def open_run(results: Path, **plan: Any) -> RunFolder:
    """Make the folder of a run that starts now; `plan` as for `describe_run`.

    Raises:
        StoreError: It cannot be made.
    """
    return RunFolder.create(results, describe_run(**plan))


def describe_resumption() -> Resumption:
    """Describe the resumption of a run that starts now, by this command line."""
    return Resumption(started_at=now(), command=tuple(sys.argv), stepbench=__version__)


TRACES = "traces"
"""Folder of a run with a trace per cell or case, and per rank, for ui.perfetto.dev."""


def trace_file(folder: Path, key: str) -> str:
    """Make the folder of traces, and return the file of one; a rank's has `rankN-` before its name."""
    make_folder(folder)
    return str(folder / f"{key}.json.gz")


def tell_untraced(name: str, ending: Ending) -> None:
    """Say on stderr why something has no trace: its figures stand without it."""
    if ending.outcome is not Outcome.OK:
        print(f"bench: no trace of {plain(name)}: {plain(ending.reason or ending.outcome.value)}", file=sys.stderr)


class Stamp:
    """Starts with the cell; `record` or `fields` ends it."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._started_at = now()
        self._started = time.perf_counter()

    def fields(self) -> dict[str, Any]:
        """Return the fields of a result that say when it started, how long it took and which version measured it."""
        return {
            "started_at": self._started_at,
            "duration_seconds": time.perf_counter() - self._started,
            "stepbench": __version__,
        }

    def record(self, outcome: Outcome, **found: Any) -> Record:
        """Make the cell's record; `found` are fields of Record."""
        return Record(cell=self._cell, outcome=outcome, **self.fields(), **found)
