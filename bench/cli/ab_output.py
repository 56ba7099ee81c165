"""What `bench ab` and its kin print: progress with an honest time left, then the report."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from bench.cli.ab_options import ReportFormat
from bench.cli.output import print_json, terminal_width, uses_color
from bench.core.environment import BUSY_CORES_LIMIT
from bench.core.errors import StoreError
from bench.core.units import counted
from bench.report.formats.markdown_subjects import comparison_markdown
from bench.runner.ab.run import Compared, Started, side_document
from bench.runner.ab.sides import Side, uncommitted_files
from bench.runner.ab.stages import Progress, Settings
from bench.tables.comparison import Heading, comparison_report, percent_of, sessions_in_words
from bench.tables.figures import is_unicode


class Watcher:
    """Says on stderr what is measured, and after every session how long it will still take."""

    def __init__(self, *, is_quiet: bool = False) -> None:
        self._is_quiet = is_quiet

    def __call__(self, event: Started | Progress) -> None:
        """Hear an event."""
        if self._is_quiet:
            return
        lines = self._started(event) if isinstance(event, Started) else [self._progress(event)]
        for line in lines:
            print(f"bench: {line}", file=sys.stderr, flush=True)

    def _started(self, event: Started) -> list[str]:
        cells = counted(len(event.cells), "cell")
        lines = [f"comparing {cells}, base {words_of(event.base)}, head {words_of(event.head)}"]
        if event.head.given == "HEAD" and (count := uncommitted_files()):
            lines.append(
                f"{count} files have uncommitted changes, which HEAD does not include; write . to include them"
            )
        busy = event.machine.other_busy_cores
        if busy is not None and busy > BUSY_CORES_LIMIT:
            again = "sessions it spoils are void and measured again" if event.settings.judges_state else "judged anyway"
            lines.append(f"other work keeps {busy:.1f} cores busy; {again}")
        tolerated = math.log1p(event.settings.threshold.tolerate)
        for cell in event.cells:
            spread = event.spreads.get(cell.key)
            detectable = None if spread is None else event.settings.detectable(spread)
            if detectable is not None and detectable > tolerated:
                sees, limit = percent_of(detectable), percent_of(tolerated)
                lines.append(f"{cell.id}: calibrated to see {sees} %, to tolerate {limit} % takes a larger --extend")
        return lines

    def _progress(self, event: Progress) -> str:
        session = event.session
        void = [f"{one.cell.id} {one.void}" for one in session.cells if one.void is not None]
        failed = [f"{one.cell.id} {one.failed}: {one.reason}" for one in session.cells if one.failed is not None]
        left = f"{duration(event.seconds_left)} left" if event.seconds_left else "done"
        more = f", up to {duration(event.seconds_more)} more if not all is decided" if event.seconds_more else ""
        spoiled = "".join(f"; void: {text}" for text in void[:3]) + "".join(f"; {text}" for text in failed[:3])
        counted = f"[{session.stage} {event.done}/{event.planned}]"
        return f"{counted} session took {duration(session.seconds)}, {left}{more}{spoiled}"


def print_compared(compared: Compared, settings: Settings, *, format: ReportFormat, markdown: Path | None) -> None:  # noqa: A002
    """Print the report in the format that was asked for; write Markdown beside it if asked."""
    heading = heading_of(compared, settings)
    if markdown is not None:
        try:
            markdown.write_text(comparison_markdown(compared.comparisons, heading), encoding="utf-8")
        except OSError as error:
            raise StoreError(f"cannot write {markdown}: {error.strerror}; the run is in {compared.folder}") from error
    if format is ReportFormat.JSON:
        print_json(
            "ab",
            folder=str(compared.folder),
            base=side_document(compared.base),
            head=side_document(compared.head),
            seed=compared.seed,
            seconds=compared.seconds,
            unfit=compared.unfit,
            is_cut_short=compared.is_cut_short,
            heading=heading,
            comparisons=compared.comparisons,
        )
    elif format is ReportFormat.MARKDOWN:
        print(comparison_markdown(compared.comparisons, heading), end="")
    else:
        unicode = is_unicode(sys.stdout.encoding)
        width, color = terminal_width(), uses_color()
        print(comparison_report(compared.comparisons, heading, width=width, color=color, unicode=unicode))
        print(f"Results: {compared.folder}")


def heading_of(compared: Compared, settings: Settings) -> Heading:
    """Put what was compared, and how, into words."""
    notes = []
    if compared.is_cut_short:
        notes.append("the budget ended before all sessions were run")
    if compared.differing:
        notes.append(f"the environments differ in {', '.join(compared.differing)}")
    return Heading(
        base=words_of(compared.base),
        head=words_of(compared.head),
        method=f"{sessions_in_words([one.stage for one in compared.sessions])} of {settings.quads} quads, "
        f"{duration(compared.seconds)}, seed {compared.seed}",
        notes=tuple(notes),
        unfit=compared.unfit,
    )


def words_of(side: Side) -> str:
    """Name a side: `origin/main (1a2b3c4d5)`, or its folder."""
    name = f"{side.given} ({side.commit[:9]})" if side.commit and side.given != side.commit else side.given
    return name if side.python == sys.executable else f"{name} with {side.python}"


def duration(seconds: float) -> str:
    """Write a duration as people say it: `45 s`, `3 min 20 s`, `1 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@contextlib.contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM and SIGHUP, with which a CI ends a job, unwind like Ctrl-C: workers and worktrees go first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
