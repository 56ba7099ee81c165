"""Show a training while it runs, and let it end in order when it is told to stop. Both write to stderr."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from bench.core.training import Epoch, Progress
from bench.core.units import format_count, format_seconds

if TYPE_CHECKING:
    from bench.runner.training import Stop

_SECONDS_BETWEEN_LINES = 20.0
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def make_training_observer(*, is_quiet: bool = False) -> Callable[[Progress], None]:
    """Choose how to show progress: a bar per epoch on a terminal, a line per epoch in a log."""
    if is_quiet:
        return lambda _: None
    return _Bar() if sys.stderr.isatty() else _Lines()


@contextlib.contextmanager
def stoppable_training(stop: Stop) -> Iterator[None]:
    """Have Ctrl-C, SIGTERM and SIGHUP end a training after its step, with a checkpoint; a second one at once."""

    def ask(number: int, _: FrameType | None) -> None:
        for each in _STOPPING:
            signal.signal(each, signal.default_int_handler if each is signal.SIGINT else signal.SIG_DFL)
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            print("bench: stopping after this step; once more to stop at once", file=sys.stderr, flush=True)
        stop.request(number)

    before = {each: signal.getsignal(each) for each in _STOPPING}
    for each, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup
            signal.signal(each, ask)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def epoch_words(epoch: Epoch) -> str:
    """Say what an epoch brought, on one line."""
    loss = "not finite" if epoch.train_loss is None else f"{epoch.train_loss:.4f}"
    right = "" if epoch.test_accuracy is None else f", {epoch.test_accuracy * 100:.1f} % of the test set right"
    rate = f"{format_count(epoch.examples_per_second)} examples/s"
    return f"epoch {epoch.epoch}: loss {loss}{right}; {format_seconds(epoch.seconds)}, {rate}"


class _Lines:
    """A line per epoch, and within long ones another now and then, for logs."""

    def __init__(self) -> None:
        self._said_at = -math.inf

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.finished is not None:
            print(epoch_words(progress.finished), file=sys.stderr, flush=True)
        elif now - self._said_at > _SECONDS_BETWEEN_LINES:
            words = f"epoch {progress.epoch}: step {progress.steps} of {progress.total_steps}"
            loss = "" if progress.loss is None else f", loss {progress.loss:.4f}"
            print(words + loss, file=sys.stderr, flush=True)
        else:
            return
        self._said_at = now


class _Bar:
    """A rich progress bar for the running epoch; a finished one becomes a line above it."""

    def __init__(self) -> None:
        self._progress: Any = None
        self._task: Any = None

    def __call__(self, progress: Progress) -> None:
        if self._progress is None:
            self._start()
        if progress.finished is not None:
            self._progress.console.print(epoch_words(progress.finished), markup=False, highlight=False)
            self._progress.stop()
            self._progress = None
            return
        words = f"epoch {progress.epoch}" + ("" if progress.loss is None else f", loss {progress.loss:.4f}")
        self._progress.update(self._task, completed=progress.steps, total=progress.total_steps, description=words)

    def _start(self) -> None:
        from rich import progress
        from rich.console import Console

        self._progress = progress.Progress(
            progress.MofNCompleteColumn(),
            progress.BarColumn(bar_width=20),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.description}", markup=False),
            console=Console(stderr=True),
            refresh_per_second=2,  # it draws on a core that the training needs
            transient=True,
        )
        self._task = self._progress.add_task("")
        self._progress.start()
