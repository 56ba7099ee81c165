"""Stored runs to the HTML report: what is on disk becomes `ReportData`, and the page goes into a file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.core import __version__
from bench.core.errors import BenchError, NothingMeasuredError, StoreError
from bench.core.history import Trend
from bench.report.html.contract import ReportData, make_data
from bench.report.html.page import render
from bench.runner.compare import compare_stored
from bench.store.atomic import write_bytes
from bench.store.history.accepted import descendants, read_accepted
from bench.store.history.database import open_history
from bench.store.history.queries import STEP, find_series, read_trend
from bench.store.runs import RunFolder
from bench.store.stored import StoredRun, read_stored_run

LAST = 60
"""Points of a trend."""


def read_report_data(runs: Sequence[str], results: Path) -> ReportData:
    """Read stored runs, each given as to `RunFolder.open`; with several, each is put beside the first.

    Raises:
        StoreError: A run is not there, or its `run.json` cannot be read. Records that cannot be read are named in
            the report.
    """
    read = [read_stored_run(RunFolder.open(run, results)) for run in runs]
    plain = [run for run in read if run.comparison is None]
    return make_data(read, [compare_stored(plain[0], head) for head in plain[1:]])


def write_report(data: ReportData, path: Path) -> int:
    """Write the report of some runs into a file, whole or not at all, and return its size in bytes.

    Raises:
        StoreError: It cannot be written.
    """
    page = render(data, made_by=f"stepbench {__version__}").encode("utf-8", "backslashreplace")
    write_bytes(path, page)
    return len(page)


def write_page(folder: RunFolder, run: StoredRun) -> None:
    """Write `report.html` of a run that just ended; a page that cannot be made costs no run.

    Raises:
        StoreError: The run's folder cannot be written.
    """
    try:
        write_report(make_data([run]), folder.path / "report.html")
    except StoreError:
        raise
    except Exception as error:  # noqa: BLE001 - everything is measured and stored by now; the page can be made again
        logging.getLogger(__name__).warning(
            "report.html was not written (%s: %s); 'bench report %s' tries again",
            type(error).__name__,
            error,
            folder.path.name,
        )


def with_history(data: ReportData, given: str | None, results: Path) -> ReportData:
    """Add the trends of the newest run's cells on its machine.

    Args:
        data: Data of the report.
        given: As of `--history`; None is `history.sqlite` in `results`, if there is one. That one is a gift: where it
            cannot be read, the report says so and goes without.
        results: Holds `accepted.csv`, too.

    Raises:
        BenchError: The history that was given cannot be read.
    """
    where = results / "history.sqlite"
    if not data.runs or (given is None and not where.is_file()):
        return data
    *others, run = data.runs
    try:
        return replace(data, trends=_trends(run, given or str(where), results))
    except NothingMeasuredError:
        if given is not None:
            raise
        return data
    except BenchError as error:
        if given is not None:
            raise
        return replace(data, runs=(*others, replace(run, problems=(*run.problems, str(error)))))


def _trends(run: StoredRun, given: str, results: Path) -> tuple[Trend, ...]:
    wanted = {(r.cell.key, r.environment.fingerprint) for r in run.records if r.environment is not None}
    accepted = read_accepted(results / "accepted.csv")
    folder = Path.cwd()
    with open_history(given) as history, history.reading() as connection:
        return tuple(
            read_trend(
                connection,
                series,
                STEP,
                LAST,
                accepted=accepted,
                descendants=lambda commit: descendants(folder, commit),
            )
            for series in find_series(connection)
            if (series.key, series.fingerprint) in wanted
        )
