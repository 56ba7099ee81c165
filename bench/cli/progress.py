"""Progress on stderr while a command works, and the orderly end when it is told to stop.

Progress is a bar on a terminal and plain lines in a log; `--quiet` shows nothing.
"""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from types import FrameType
from typing import TYPE_CHECKING, Any

from bench.cli.output import say
from bench.core.advice import AdviceKind
from bench.core.progress import listening, tell
from bench.core.record import Outcome, Phase, Record
from bench.core.text import plain
from bench.core.training import Epoch
from bench.core.training import Progress as TrainingProgress
from bench.core.units import counted, format_clock, format_count, format_duration, format_seconds
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

if TYPE_CHECKING:
    from bench.core.comparison import Narrowed, Settled
    from bench.runner.ab.run import Started
    from bench.runner.ab.stages import Progress as AbProgress

STOPPING = (signal.SIGTERM, signal.SIGHUP)
_SECONDS_BETWEEN_LINES = 20.0
_PATIENCE_SECONDS = 2.0
_LINE_SECONDS = 10.0
_DRAW_SECONDS = 0.5


def _bar(*, is_transient: bool = False) -> Any:
    """Make a rich progress bar; it draws twice a second only, on a core that the measurement needs."""
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    class Count(progress.MofNCompleteColumn):
        """Which step of how many; rich writes an unknown number as `0/?`."""

        def render(self, task: progress.Task) -> Text:
            return Text() if task.total is None else super().render(task)

    return progress.Progress(
        Count(),
        progress.BarColumn(bar_width=20),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.description}", markup=False),
        console=Console(stderr=True),
        refresh_per_second=2,
        transient=is_transient,
    )


def make_observer(*, is_quiet: bool = False) -> Observer:
    """Choose how to show progress on stderr."""
    if is_quiet:
        return lambda _: None
    return _RunBar() if sys.stderr.isatty() else _RunLines()


_ESTIMATED_AT = (3, 10, 30, 100, 300, 1000)
"""After so many cells a log says when the run is expected to end; a bar always does."""


class _RunLines:
    """One line per cell, for logs."""

    def __init__(self) -> None:
        self._total = 0
        self._since: float | None = None
        self._until: datetime | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunResumed):
            _say_resumed(event)
        elif isinstance(event, RunStarted):
            _say_untold()
            self._total, self._until = event.most, event.until
            cells = counted(self._total, "cell")
            say(f"measuring {cells} into {event.folder}; counting first")
        elif isinstance(event, CellStarted):
            self._since = time.monotonic() if self._since is None else self._since
        elif isinstance(event, CellFinished):
            done, left = event.index + 1, self._total - event.index - 1
            say(f"[{done}/{self._total}] {_words(event.record)}", start="")
            if event.index == 0 and left and (busy := _busy_words(event.record)):
                say(busy)
            if left and done in _ESTIMATED_AT and self._since is not None:
                say(self._expected_end(done, left, time.monotonic() - self._since))

    def _expected_end(self, done: int, left: int, seconds: float) -> str:
        """Expect that the cells left take as long as those that ended, side by side where there are several GPUs."""
        end, rest = datetime.now(UTC) + timedelta(seconds=seconds / done * left), ""
        if self._until is not None and self._until < end:
            end, rest = self._until, " with cells left (--until)"
        return (
            f"expected end: about {format_clock(end)}{rest}, as {counted(done, 'cell')} took {format_seconds(seconds)}"
        )


def _say_untold() -> None:
    from bench.device.cpu import untold

    if found := untold():
        what = ", ".join(line.partition(":")[0] for line in found)
        say(f"this system does not report {what}; `bench machine` says what follows from that")


class _RunBar:
    """A rich progress bar with the time left, and a line for every cell that did not end OK."""

    def __init__(self) -> None:
        self._progress: Any = None
        self._counting: Any = None
        self._task: Any = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunResumed):
            _say_resumed(event)
        elif isinstance(event, RunStarted):
            _say_untold()
            self._progress = _bar()
            self._counting = self._progress.add_task("counting", total=len(event.cells))
            self._task = self._progress.add_task("", total=event.most, visible=False)
            self._progress.start()
        elif isinstance(event, CellPrepared):
            self._progress.update(self._counting, advance=1, description=f"counting {plain(event.cell.id)}")
        elif isinstance(event, CellStarted):
            self._progress.update(self._counting, visible=False)
            self._progress.update(self._task, description=plain(event.cell.id), visible=True)
        elif isinstance(event, CellFinished):
            if event.record.outcome is not Outcome.OK:
                self._progress.console.print(plain(_words(event.record)), markup=False, highlight=False)
            if event.index == 0 and (busy := _busy_words(event.record)):
                self._progress.console.print(busy, markup=False, highlight=False)
            self._progress.advance(self._task)
        elif isinstance(event, RunFinished):
            self._progress.stop()


def _say_resumed(event: RunResumed) -> None:
    reasons = [f"{count} {reason}" for reason, count in event.again]
    words = (
        f"{sum(count for _, count in event.again)} to measure: {', '.join(reasons)}" if reasons else "nothing is left"
    )
    for problem in event.problems:
        say(problem)
    say(f"resuming {event.folder}: {event.kept} records kept, {words}")


def _words(record: Record) -> str:
    if record.outcome is not Outcome.OK:
        return f"{record.cell.id}  {record.outcome.value}: {record.reason}"
    seconds = record.sample_seconds(Phase.STEP)
    return f"{record.cell.id}  {format_seconds(median(seconds))}" if seconds else record.cell.id


def _busy_words(record: Record) -> str | None:
    """Say after the first cell that the others are in vain; a long run is stopped before it has ended."""
    facts = next((dict(one.facts) for one in record.advice if one.kind is AdviceKind.BUSY_MACHINE), {})
    busy = "other work keeps {other_busy_cores:.1f} cores busy, so times are too long"
    return f"{busy.format(**facts)}; measure when the machine is quiet" if facts else None


@contextlib.contextmanager
def watching(is_quiet: bool) -> Iterator[Callable[[int, int, str, str | None], None]]:
    """Show on stderr which case has run, a line each, and how long the rest will take."""

    def line(index: int, total: int, name: str, words: str | None) -> None:
        tell("measuring", index + (words is not None), total)
        if words is not None and not is_quiet:
            say(f"[{index + 1}/{total}] {name}  {words}", start="")

    with waiting(is_quiet=is_quiet):
        yield line


def make_training_observer(*, is_quiet: bool = False) -> Callable[[TrainingProgress], None]:
    """Choose how to show progress: a bar per epoch on a terminal, a line per epoch in a log."""
    if is_quiet:
        return lambda _: None
    return _TrainingBar() if sys.stderr.isatty() else _TrainingLines()


def epoch_words(epoch: Epoch) -> str:
    """Describe the results of an epoch on one line."""
    loss = "not finite" if epoch.train_loss is None else f"{epoch.train_loss:.4f}"
    right = "" if epoch.test_accuracy is None else f", {epoch.test_accuracy * 100:.1f} % of the test set right"
    rate = f"{format_count(epoch.examples_per_second)} examples/s"
    return f"epoch {epoch.epoch}: loss {loss}{right}; {format_seconds(epoch.seconds)}, {rate}"


class _TrainingLines:
    """A line per epoch, and within long ones another now and then, for logs."""

    def __init__(self) -> None:
        self._said_at = -math.inf
        self._first: tuple[float, int] | None = None  # when it was heard of, and the steps that were done then

    def __call__(self, progress: TrainingProgress) -> None:
        now = time.monotonic()
        self._first = self._first or (now, progress.done)
        if progress.finished is not None:
            say(epoch_words(progress.finished) + self._left(progress, now), start="")
        elif now - self._said_at > _SECONDS_BETWEEN_LINES:
            words = f"epoch {progress.epoch}: step {progress.steps} of {progress.total_steps}"
            loss = "" if progress.loss is None else f", loss {progress.loss:.4f}"
            say(words + loss + self._left(progress, now), start="")
        else:
            return
        self._said_at = now

    def _left(self, progress: TrainingProgress, now: float) -> str:
        """Expect that the steps left take as long as those since the first report, with what lies between epochs."""
        assert self._first is not None
        since, before = self._first
        done, left = progress.done - before, progress.epochs * progress.total_steps - progress.done
        return f"; about {format_duration((now - since) / done * left)} left" if done and left else ""


class _TrainingBar:
    """A rich progress bar for the running epoch; a finished one becomes a line above it."""

    def __init__(self) -> None:
        self._progress: Any = None
        self._task: Any = None

    def __call__(self, progress: TrainingProgress) -> None:
        if self._progress is None:
            self._progress = _bar(is_transient=True)
            self._task = self._progress.add_task("")
            self._progress.start()
        if progress.finished is not None:
            self._progress.console.print(epoch_words(progress.finished), markup=False, highlight=False)
            self._progress.stop()
            self._progress = None
            return
        words = f"epoch {progress.epoch}" + ("" if progress.loss is None else f", loss {progress.loss:.4f}")
        self._progress.update(self._task, completed=progress.steps, total=progress.total_steps, description=words)


@contextlib.contextmanager
def waiting(what: str = "starting", *, is_quiet: bool = False) -> Iterator[Callable[[], None]]:
    """Show on stderr work that takes over two seconds: a bar on a terminal, a line now and then in a log.

    `bench.core.progress.tell` reports what is done and how much there is. Calling the yielded function ends the display
    early.
    """
    if is_quiet:
        yield lambda: None
        return
    state, stop = _Wait(what), threading.Event()
    show = _draw_wait if sys.stderr.isatty() else _print_wait
    thread = threading.Thread(target=show, args=(state, stop), daemon=True)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join()

    try:
        with listening(state):
            yield end
    finally:
        end()


@contextlib.contextmanager
def watched(observer: Callable[[Any], None], *, is_quiet: bool) -> Iterator[Callable[[Any], None]]:
    """Show what is done before an observer hears of anything, and after a run's last cell; it shows the rest."""
    with contextlib.ExitStack() as stack:
        end = stack.enter_context(waiting(is_quiet=is_quiet))

        def hear(event: Any) -> None:
            end()
            observer(event)
            if isinstance(event, RunFinished):
                stack.enter_context(waiting("finishing", is_quiet=is_quiet))

        yield hear


class _Wait:
    """The last report of progress, and since when that work runs."""

    def __init__(self, what: str) -> None:
        self.what, self.done = what, 0
        self.total: int | None = None
        self.since = time.monotonic()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        if what != self.what:
            self.since = time.monotonic()
        self.what, self.done, self.total = what, done, total

    def words(self) -> str:
        """Describe how far it is, and how long it will take if the rest is like what is done."""
        elapsed = time.monotonic() - self.since
        count = "" if self.total is None else f" {self.done} of {self.total},"
        left = ""
        if self.total is not None and 0 < self.done < self.total:
            left = f", about {format_duration(elapsed / self.done * (self.total - self.done))} left"
        return f"{self.what},{count} {format_duration(elapsed)}{left}"


def _print_wait(state: _Wait, stop: threading.Event) -> None:
    pause = _PATIENCE_SECONDS
    while not stop.wait(pause):
        say(state.words())
        pause = _LINE_SECONDS


def _draw_wait(state: _Wait, stop: threading.Event) -> None:
    if stop.wait(_PATIENCE_SECONDS):
        return
    with _bar(is_transient=True) as bar:
        task = bar.add_task(state.what, total=state.total)
        while not stop.wait(_DRAW_SECONDS):
            bar.update(task, description=state.what, completed=state.done, total=state.total)


@contextlib.contextmanager
def watching_sessions(*, is_quiet: bool) -> Iterator[Callable[[Any], None]]:
    """Show what `bench ab` and its like measure; a CI that ends the job is like Ctrl-C."""
    show: Callable[[Any], None] = (lambda _: None) if is_quiet else _show_session
    with terminated_like_interrupted(), watched(show, is_quiet=is_quiet) as listen:
        yield listen


def _show_session(event: str | Started | AbProgress | Narrowed | Settled) -> None:
    """Show a line, or what is measured, and after every session what is left to do."""
    from bench.runner.ab.run import Started
    from bench.runner.ab.stages import Progress

    if isinstance(event, str):
        say(event)
    elif isinstance(event, Started | Progress):
        for line in _started_lines(event) if isinstance(event, Started) else _session_lines(event):
            say(line)
    else:
        from bench.tables.comparison import event_text
        from bench.tables.figures import ascii_only, is_unicode

        text = event_text(event)
        say(text if is_unicode(sys.stderr.encoding) else ascii_only(text))


def _started_lines(event: Started) -> list[str]:
    from bench.runner.ab.run import side_document
    from bench.store.stored import sides_in_words
    from bench.tables.comparison import percent_of

    cells = counted(len(event.cells), "cell")
    base, head = sides_in_words(side_document(event.base), side_document(event.head))
    lines = [f"comparing {cells}, base {base}, head {head}", *event.notes]
    tolerated = math.log1p(event.settings.threshold.tolerate)
    for cell in event.cells:
        spread = event.spreads.get(cell.key)
        detectable = None if spread is None else event.settings.detectable(spread, len(event.cells))
        if detectable is not None and detectable > tolerated:
            sees, limit = percent_of(detectable), percent_of(tolerated)
            lines.append(f"{cell.id}: calibrated to see {sees} %, --tolerate is {limit} %; larger --quads help")
    return lines


def _session_lines(event: AbProgress) -> list[str]:
    cells, lines = event.session.cells, []
    failed = [f"{one.cell.id} {one.failed}: {one.reason}" for one in cells if one.failed is not None]
    if event.undecided:
        look, most = event.seconds_left, event.seconds_left + event.seconds_more
        budget = math.inf if event.budget_seconds is None else event.budget_seconds
        ahead = f"{'' if look == most else f'next look in {_about(look)}, '}all within {_about(min(most, budget))}"
        ahead = f"the budget ends in {_about(budget)}" if budget < look else ahead
        lines.append(f"[{event.done} of {event.planned} sessions, {counted(event.undecided, 'cell')}] {ahead}")
    elif not failed:
        lines.append(f"[{counted(event.done, 'session')}] done")
    if void := [one.void for one in cells if one.void is not None]:
        lines.append(f"{counted(len(void), 'cell')} void ({', '.join(dict.fromkeys(void))}), not counted")
    return [*lines, *failed[:3]]


def _about(seconds: float) -> str:
    """Write a long time ahead in whole minutes: a line fits a terminal."""
    return format_duration(seconds if seconds < 600 else round(seconds / 60) * 60)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an orderly exit with 128 + signal; a second one ends the process at once."""

    def stop(number: int, _: FrameType | None) -> None:
        for each in STOPPING:
            signal.signal(each, signal.SIG_DFL)
        name = signal.Signals(number).name
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            say(f"stopped by {name}; what was measured before is on disk")
        raise SystemExit(128 + number)

    with handling(STOPPING, stop):
        yield


@contextlib.contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM and SIGHUP, with which a CI ends a job, unwind like Ctrl-C: workers and worktrees go first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    with handling(STOPPING, interrupt):
        yield


@contextlib.contextmanager
def handling(numbers: Sequence[signal.Signals], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have signals handled otherwise inside; those that are ignored, as nohup does, stay so."""
    before = {number: signal.getsignal(number) for number in numbers}
    for number, known in before.items():
        if known is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, known in before.items():
            signal.signal(number, known)
