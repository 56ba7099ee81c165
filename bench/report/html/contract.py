"""What enters the report, and what a section of it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.core.claim import CheckedClaim
from bench.core.comparison import Comparison
from bench.core.environment import Environment
from bench.core.record import Record
from bench.stats.summary import Summary, summarise
from bench.tables.comparison import Heading, Nomination


@dataclass(frozen=True, slots=True, kw_only=True)
class AbData:
    """What `bench ab` found, as its folder says."""

    comparisons: tuple[Comparison, ...]
    heading: Heading


@dataclass(frozen=True, slots=True, kw_only=True)
class NominatedRuns:
    """Two stored runs side by side; nominates, never judges.

    Attributes:
        base: Id of the run; `head` likewise.
        commands: Those that can judge.
        refused: Why the two cannot be compared; empty where they can.
    """

    base: str
    head: str
    nominations: tuple[Nomination, ...] = ()
    commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """One run, read.

    Attributes:
        id: Name of its folder.
        started_at: ISO 8601.
        command: As typed.
        environment: Of the run; records have their own.
        missing: Ids of planned cells that have no record.
        problems: What could not be read, one sentence each.
        ab: Of a folder of `bench ab`; such a run has no records.
        extras: What other rooms bring, by name; their sections know the types.
    """

    id: str
    started_at: str = ""
    command: tuple[str, ...] = ()
    environment: Environment | None = None
    records: tuple[Record, ...] = ()
    claims: tuple[CheckedClaim, ...] = ()
    missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    ab: AbData | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """All that a report is about; `make_data` makes it.

    Attributes:
        runs: Oldest first, as they were asked for.
        rows: Of all runs, in their order.
        nominated: Each run against the first one.
    """

    runs: tuple[RunData, ...]
    rows: tuple[Row, ...]
    nominated: tuple[NominatedRuns, ...] = ()

    @property
    def claims(self) -> tuple[CheckedClaim, ...]:
        """The claims of the newest run that checked some."""
        return next((run.claims for run in reversed(self.runs) if run.claims), ())

    @property
    def records(self) -> tuple[Record, ...]:
        """The records of all runs."""
        return tuple(row.record for row in self.rows)


def make_data(runs: Sequence[RunData], nominated: Sequence[NominatedRuns] = ()) -> ReportData:
    """Derive every figure once."""
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
        build: What the template shows; None leaves the section out.
    """

    anchor: str
    title: str
    build: Build

    @property
    def template(self) -> str:
        """Path of the template below `templates/`."""
        return f"sections/{self.anchor}.html"
