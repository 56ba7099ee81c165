"""How far a long question to the history is: a bar on a terminal, a line now and then in a log. Both on stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

_LINE_SECONDS = 10.0
_BAR_FROM = 20


class Progress:
    """Called with how many are done, how many there are, and the name of the next; shows nothing for a few."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._told = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int, name: str) -> None:
        """Show it."""
        if total < _BAR_FROM:
            return
        if sys.stderr.isatty():
            self._draw(done, total, name)
        elif time.monotonic() - self._told > _LINE_SECONDS:
            self._told = time.monotonic()
            print(f"[{done}/{total}] {name}", file=sys.stderr, flush=True)

    def _draw(self, done: int, total: int, name: str) -> None:
        if self._bar is None:
            from rich import progress
            from rich.console import Console

            self._bar = progress.Progress(
                progress.MofNCompleteColumn(),
                progress.BarColumn(bar_width=20),
                progress.TimeRemainingColumn(),
                progress.TextColumn("{task.description}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=total)
            self._bar.start()
        self._bar.update(self._task, completed=done, description=name)
