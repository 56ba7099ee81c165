"""What a history says: trends of one metric of one cell on one machine, accepted changes, nominations, what goes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bench.core.cell import Cell


class NominationKind(StrEnum):
    """Why a value is worth a look. None of them is a verdict on time; EXACT is one on a count."""

    NEWEST = "newest"  # the newest value lies outside of what the past predicts
    CHANGE = "change"  # the level of the series changed
    EXACT = "exact"  # a count that has no noise changed


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedChange:
    """One row of `results/accepted.csv`: a change that is known and meant so.

    Attributes:
        cell: Key, name, or a glob over names.
        commit: Hex digits, at least 7: the first commit with the change.
        metric: Name of the metric; `*` is all of them.
        line: Number of the line in its file, for errors.
    """

    cell: str
    commit: str
    metric: str
    reason: str
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedMark:
    """Where an accepted change stands in a trend: `index` is the first point after it."""

    index: int
    commit: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPoint:
    """One measurement in a trend.

    Attributes:
        started_at: ISO 8601 in UTC.
        value: Value in the metric's unit; None where it was not measured.
        low: Lower end of the 95 % interval, where the metric has one.
        commit: Commit of the working directory it was measured in.
        path: Path of the raw record.
    """

    started_at: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n_effective: float | None = None
    commit: str | None = None
    is_dirty: bool | None = None
    outcome: str = "ok"
    reason: str | None = None
    run: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One metric of one cell on one machine, oldest first.

    Attributes:
        cell: None for a benchmark of pytest-benchmark that is no cell of ours.
        fingerprint: Fingerprint of the environment; None where the measurements do not say.
        machine: The environment in words.
        count: Measurements in the history; `points` holds the newest of them.
    """

    cell_id: str
    cell_key: str
    cell: Cell | None
    fingerprint: str | None
    machine: str
    metric: str
    count: int
    points: tuple[HistoryPoint, ...]
    accepted: tuple[AcceptedMark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryNomination:
    """One suspect: what moved from what to what, between which commits, and how to have it judged.

    Attributes:
        before: The level, or the count, before.
        after: The newest value, the level, or the count, after.
        shift: log(after / before); None where that has no meaning.
        low: Lower end of the interval that the past predicted for the newest value.
        good_commit: Commit of the last point before; None where it is unknown.
        bad_commit: Commit of the first point after.
        is_dirty: A side had uncommitted changes: its commit does not name what was measured.
        started_at: Start of the first point after.
        past: Points that went into it.
        command: The `bench ab` command that can judge; None if there is none, and `why_none` says why.
        accept: The row of `accepted.csv` that would accept it; None without a commit.
    """

    kind: NominationKind
    cell_id: str
    cell_key: str
    fingerprint: str | None
    metric: str
    before: float | str
    after: float | str
    shift: float | None = None
    low: float | None = None
    high: float | None = None
    good_commit: str | None = None
    bad_commit: str | None = None
    is_dirty: bool = False
    started_at: str
    past: int
    command: str | None = None
    why_none: str = ""
    accept: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What goes out of a history, or went.

    Attributes:
        is_done: False: nothing was changed.
        records: Measurements that go.
        of: Measurements there were.
        cells: Cells they belong to.
        kept_accepted: Measurements that stay only because a change was accepted at their commit.
        oldest: When the first of them was started.
        runs: Runs of which nothing is left.
        folders: Raw run folders that go; none unless asked for.
        problems: Folders that stay although asked for, and why.
    """

    is_done: bool
    records: int
    of: int
    cells: int
    kept_accepted: int
    oldest: str | None
    newest: str | None
    runs: tuple[str, ...]
    folders: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
