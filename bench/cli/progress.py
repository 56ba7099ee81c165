"""Observers that show a run while it runs: a bar on a terminal, plain lines in a log. Both write to stderr."""

from __future__ import annotations

import sys
from statistics import median
from typing import Any

from bench.core.record import Outcome, Phase, Record
from bench.core.units import counted, format_seconds
from bench.runner.events import (
    CellFinished,
    CellPrepared,
    CellStarted,
    Event,
    Observer,
    RunFinished,
    RunResumed,
    RunStarted,
)


def make_observer(*, is_quiet: bool = False) -> Observer:
    """Choose how to show progress on stderr."""
    if is_quiet:
        return lambda _: None
    return _Bar() if sys.stderr.isatty() else _Lines()


class _Lines:
    """One line per cell, for logs."""

    def __init__(self) -> None:
        self._total = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunResumed):
            _say_resumed(event)
        elif isinstance(event, RunStarted):
            self._total = len(event.cells)
            cells = counted(self._total, "cell")
            print(f"bench: measuring {cells} into {event.folder}; counting first", file=sys.stderr, flush=True)
        elif isinstance(event, CellFinished):
            print(f"[{event.index + 1}/{self._total}] {_words(event.record)}", file=sys.stderr, flush=True)


class _Bar:
    """A rich progress bar with the time left, and a line for every cell that did not end OK."""

    def __init__(self) -> None:
        self._progress: Any = None
        self._counting: Any = None
        self._task: Any = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunResumed):
            _say_resumed(event)
        elif isinstance(event, RunStarted):
            self._start(len(event.cells))
        elif isinstance(event, CellPrepared):
            self._progress.update(self._counting, advance=1, description=f"counting {event.cell.id}")
        elif isinstance(event, CellStarted):
            self._progress.update(self._counting, visible=False)
            self._progress.update(self._task, description=event.cell.id, visible=True)
        elif isinstance(event, CellFinished):
            if event.record.outcome is not Outcome.OK:
                self._progress.console.print(_words(event.record), markup=False, highlight=False)
            self._progress.advance(self._task)
        elif isinstance(event, RunFinished):
            self._progress.stop()

    def _start(self, total: int) -> None:
        from rich import progress
        from rich.console import Console

        self._progress = progress.Progress(
            progress.MofNCompleteColumn(),
            progress.BarColumn(bar_width=20),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.description}", markup=False),
            console=Console(stderr=True),
            refresh_per_second=2,  # it draws on a core that the cell needs
        )
        self._counting = self._progress.add_task("counting", total=total)
        self._task = self._progress.add_task("", total=total, visible=False)
        self._progress.start()


def _say_resumed(event: RunResumed) -> None:
    reasons = [f"{count} {reason}" for reason, count in event.again]
    words = (
        f"{sum(count for _, count in event.again)} to measure: {', '.join(reasons)}" if reasons else "nothing is left"
    )
    for problem in event.problems:
        print(f"bench: {problem}", file=sys.stderr, flush=True)
    print(f"bench: resuming {event.folder}: {event.kept} records kept, {words}", file=sys.stderr, flush=True)


def _words(record: Record) -> str:
    if record.outcome is not Outcome.OK:
        return f"{record.cell.id}  {record.outcome.value}: {record.reason}"
    seconds = record.sample_seconds(Phase.STEP)
    return f"{record.cell.id}  {format_seconds(median(seconds))}" if seconds else record.cell.id
