"""What enters the report, and what a section of it is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.claim import CheckedClaim
from bench.core.comparison import Nominated
from bench.core.history import Trend
from bench.core.record import Record
from bench.stats.summary import Summary, summarise
from bench.store.stored import StoredRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One record of one run with its derived figures; the row of the cells table.

    Attributes:
        index: Place in `ReportData.rows`.
        run: Place of its run in `ReportData.runs`.
    """

    index: int
    run: int
    record: Record
    summary: Summary


@dataclass(frozen=True, kw_only=True)  # without slots, for what every section asks
class ReportData:
    """The data of a report; `make_data` makes it.

    Attributes:
        runs: Oldest first, as they were asked for.
        rows: Rows of all runs, in their order.
        nominated: Comparison of each run with the first one.
        trends: Trends of the newest run's cells.
    """

    runs: tuple[StoredRun, ...]
    rows: tuple[Row, ...]
    nominated: tuple[Nominated, ...] = ()
    trends: tuple[Trend, ...] = ()

    @property
    def claims(self) -> tuple[CheckedClaim, ...]:
        """The claims of the newest run that checked some."""
        return next((run.claims for run in reversed(self.runs) if run.claims), ())

    @functools.cached_property
    def records(self) -> tuple[Record, ...]:
        """The records of all runs."""
        return tuple(row.record for row in self.rows)

    @functools.cached_property
    def measured_runs(self) -> frozenset[int]:
        """The places of the runs that have rows."""
        return frozenset(row.run for row in self.rows)


def make_data(runs: Sequence[StoredRun], nominated: Sequence[Nominated] = ()) -> ReportData:
    """Make the data of a report, with every figure derived once."""
    pairs = [(number, record) for number, run in enumerate(runs) for record in run.records]
    rows = tuple(
        Row(index=index, run=number, record=record, summary=summarise(record))
        for index, (number, record) in enumerate(pairs)
    )
    return ReportData(runs=tuple(runs), rows=rows, nominated=tuple(nominated))


Build = Callable[[ReportData], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section of the page.

    Attributes:
        anchor: Its id on the page, and the name of its template.
        title: Heading, and name in the navigation.
        build: Makes the values that the template shows; None leaves the section out.
        template: Path below `templates/`, if it is not the anchor's own.
    """

    anchor: str
    title: str
    build: Build
    template: str = ""
