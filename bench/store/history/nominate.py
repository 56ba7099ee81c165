"""Name suspects in a series: values that its past does not predict, levels that change, counts that differ.

    values  logs of the step's medians since the last accepted change, at most `last` of them
    CHANGE  change points of a segmentation with AR(1) noise (bench.stats.changepoint), of at least `at`
    NEWEST  the newest value against the prediction from the level before it (bench.stats.changepoint), by at least `at`
EXACT   where a count last changed, and where a cell began not to end well

A nomination is no verdict. The points of a series are single processes, each measured on another day; a confident word
on time needs both commits side by side, which is what its `bench ab` command does.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.history import AcceptedChange, HistoryNomination, NominationKind
from bench.core.record import Outcome
from bench.stats.changepoint import SHORTEST, find_change_points, predict_next
from bench.store.history.accepted import OUTCOME, Descendants, marks
from bench.store.history.queries import STEP, Series, when
from bench.store.history.schema import EXACT
from bench.suite.commands import ab_commands

COLUMNS = (STEP, *EXACT)
"""What a row needs beside what names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How suspicious to be.

    Attributes:
        last: Newest points of a series that are looked at.
        at: Smallest relative change that is worth a look.
        confidence: Confidence level of the prediction interval.
    """

    last: int = 120
    at: float = 0.02
    confidence: float = 0.99


DEFAULT = Settings()


def nominate(
    series: Series,
    rows: Sequence[Mapping[str, Any]],
    *,
    accepted: Sequence[AcceptedChange] = (),
    descendants: Descendants | None = None,
    settings: Settings = DEFAULT,
) -> tuple[HistoryNomination, ...]:
    """Name the suspects of a series, by its newest measurements, oldest first, with `COLUMNS`.

    `descendants` finds an accepted commit that was not measured itself.
    """
    if series.fingerprint is None:
        return ()  # nobody knows which of these may be compared

    def start(metric: str, of: Sequence[Mapping[str, Any]]) -> int:
        commits = [row["git_commit"] for row in of]
        found = marks(accepted, commits, key=series.key, name=series.name, metric=metric, descendants=descendants)
        return found[-1].index if found else 0

    timed = [row for row in rows if row["outcome"] == Outcome.OK.value and (row[STEP] or 0) > 0]
    found = [*_times(series, timed[start(STEP, timed) :], settings)]
    for metric in (OUTCOME, *EXACT):
        counted = [row for row in rows if row[metric] is not None]
        found += _exact(series, metric, counted[start(metric, counted) :])
    return tuple(found)


def _times(series: Series, rows: Sequence[Mapping[str, Any]], settings: Settings) -> list[HistoryNomination]:
    if not rows:
        return []
    logs = [math.log(row[STEP]) for row in rows]
    least = math.log1p(settings.at)
    # One or two values behind a change point are no level yet: they are the newest value's business.
    points = [point for point in find_change_points(logs).change_points if len(logs) - point >= SHORTEST]
    levels = [statistics.median(logs[a:b]) for a, b in itertools.pairwise([0, *points, len(logs)])]
    found = []
    for point, (before, after) in zip(points, itertools.pairwise(levels), strict=True):
        if abs(after - before) >= least:
            values = {"before": math.exp(before), "after": math.exp(after), "shift": after - before}
            found.append(_nomination(NominationKind.CHANGE, series, STEP, rows, point, **values))
    begin = points[-1] if points else 0
    prediction = predict_next(logs[begin:-1], confidence=settings.confidence)
    if prediction is not None and not prediction.holds(logs[-1]) and abs(logs[-1] - prediction.level) >= least:
        values = {
            "before": math.exp(prediction.level),
            "after": rows[-1][STEP],
            "shift": logs[-1] - prediction.level,
            "low": math.exp(prediction.low),
            "high": math.exp(prediction.high),
        }
        found.append(_nomination(NominationKind.NEWEST, series, STEP, rows, len(rows) - 1, **values))
    return found


def _exact(series: Series, metric: str, rows: Sequence[Mapping[str, Any]]) -> list[HistoryNomination]:
    """Find where the count last changed; an outcome only as long as the cell does not end well again."""
    if metric == OUTCOME and rows and rows[-1][metric] == Outcome.OK.value:
        return []
    index = next((i for i in range(len(rows) - 1, 0, -1) if rows[i][metric] != rows[i - 1][metric]), None)
    if index is None:
        return []
    before, after = rows[index - 1][metric], rows[index][metric]
    is_ratio = metric != OUTCOME and before > 0 and after > 0
    shift = math.log(after / before) if is_ratio else None
    values = {"before": before, "after": after, "shift": shift}
    return [_nomination(NominationKind.EXACT, series, metric, rows, index, **values)]


def _nomination(
    kind: NominationKind, series: Series, metric: str, rows: Sequence[Mapping[str, Any]], index: int, **values: Any
) -> HistoryNomination:
    good, bad = rows[index - 1], rows[index]
    command, why_none = _command(series, good, bad)
    return HistoryNomination(
        kind=kind,
        cell_id=series.name,
        cell_key=series.key,
        fingerprint=series.fingerprint,
        metric=metric,
        good_commit=good["git_commit"],
        bad_commit=bad["git_commit"],
        is_dirty=bool(good["git_dirty"] or bad["git_dirty"]),
        started_at=when(bad["started_at"]),
        past=index,
        command=command,
        why_none=why_none,
        accept=_accept(series.name, bad["git_commit"], metric),
        **values,
    )


def _command(series: Series, good: Mapping[str, Any], bad: Mapping[str, Any]) -> tuple[str | None, str]:
    """Write the command that can judge, or say why there is none."""
    if series.cell is None:
        return None, "it is no cell of stepbench; wrap it in the fixture bench_cell and `bench ab` can judge it"
    base, head = good["git_commit"], bad["git_commit"]
    if base is None or head is None:
        return ab_commands(base, head, [series.cell])[0], "fill in the commit, which was not recorded"
    if base == head:
        if bad["git_dirty"]:
            return ab_commands(base, head, [series.cell])[0], "the change was not committed"
        return None, "both were measured at one commit: not the code changed, but the machine or its mood"
    return ab_commands(base, head, [series.cell])[0], ""


def _accept(name: str, commit: str | None, metric: str) -> str | None:
    if commit is None:
        return None
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([name, commit[:12], metric, "why"])
    return line.getvalue()
