"""Put the history of a run's cells into its report, where there is a history."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.core.errors import BenchError, NothingMeasuredError
from bench.core.history import Trend
from bench.history.accepted import read_accepted
from bench.history.database import open_history
from bench.history.git import descendants
from bench.history.queries import STEP, find_series, read_trend
from bench.report.html.contract import ReportData, RunData
from bench.report.html.sections.history import EXTRA

LAST = 60


def with_history(data: ReportData, given: str | None, results: Path) -> ReportData:
    """Give the newest run the trends of its cells on its machine.

    Args:
        data: Of the report.
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
        extras = {**run.extras, EXTRA: _trends(run, given or str(where), results)}
        run = replace(run, extras=extras)
    except NothingMeasuredError:
        if given is not None:
            raise
    except BenchError as error:
        if given is not None:
            raise
        run = replace(run, problems=(*run.problems, str(error)))
    return replace(data, runs=(*others, run))


def _trends(run: RunData, given: str, results: Path) -> tuple[Trend, ...]:
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
