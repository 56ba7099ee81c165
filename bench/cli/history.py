"""Keep runs in a database; show trends and what changed.

It only nominates suspects; `bench ab` judges.

Examples:
    bench history ingest
    bench history show my_net
    bench history nominate --at 5%
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options
from bench.cli.output import answer, make_group, say
from bench.cli.progress import waiting
from bench.core.errors import ExitCode
from bench.core.progress import told

if TYPE_CHECKING:
    from bench.core.history import AcceptedChange, HistoryNomination
    from bench.store.history.accepted import Descendants
    from bench.tables.document import Document

PANEL = "Compare"

app = make_group()

AcceptedOption = Annotated[
    Path | None,
    typer.Option("--accepted", help="Accepted changes.", show_default="accepted.csv in --results"),
]
CellArgument = Annotated[
    str | None,
    typer.Argument(metavar="CELL", help="Key, name, beginning of a name, or glob.", show_default="all cells"),
]


@app.command("ingest")
def ingest_command(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN|FILE...",
            help="Run folders, ids or 'latest'; JSON files of pytest-benchmark.",
            show_default="every run in --results",
        ),
    ] = None,
    history: options.HistoryOption = None,
    results: options.ResultsOption = options.RESULTS,
    pruned: Annotated[bool, typer.Option("--pruned", help="Also add again what was pruned.")] = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Add runs and files of pytest-benchmark to the history; each measurement once, however often it is given.

    Files that cannot be read are named and left out; the exit code is then 2. It is 5 if there was nothing to add.
    """
    from bench.store.history.database import open_history
    from bench.store.history.ingest import ingest

    with open_history(_where(history, results), makes=True) as opened, waiting():
        done = ingest(opened, sources or (), results=results, takes_back=pruned)
    for problem in done.problems:
        say(problem)
    left_out = f", {done.pruned:,} left out as pruned" if done.pruned else ""
    broken = f", {len(done.problems)} could not be read" if done.problems else ""
    words = f"{done.where}: {done.added:,} new records, {done.known:,} known{left_out}{broken}; {done.sources} sources"
    answer("history ingest", format, lambda: words, ingested=done)
    if done.problems:
        return ExitCode.USAGE
    return ExitCode.FINE if done.sources else ExitCode.NOTHING


@app.command("show")
def show_command(
    cell: CellArgument = None,
    metric: Annotated[str, typer.Option("--metric", help="Measured column to show.")] = "step_median_seconds",
    last: Annotated[int, typer.Option("--last", min=1, help="How many newest measurements per series.")] = 60,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write an HTML page with plots here.", show_default=False)
    ] = None,
    history: options.HistoryOption = None,
    accepted: AcceptedOption = None,
    results: options.ResultsOption = options.RESULTS,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Show trends: a row per cell and machine, or a plot and its points if there is only one."""
    from bench.store.history.accepted import check_metric
    from bench.store.history.database import open_history
    from bench.store.history.nominate import COLUMNS, nominate
    from bench.store.history.queries import STEP, find_series, read_rows, read_trend

    check_metric(metric)
    known, descendants = _accepted(accepted, results)
    nominations: list[HistoryNomination] = []
    with open_history(_where(history, results)) as opened, opened.reading() as connection, waiting():
        found = find_series(connection, cell)
        trends = [
            read_trend(connection, series, metric, last, accepted=known, descendants=descendants)
            for series in told(found, "reading series", len(found))
        ]
        if output is not None and metric == STEP:
            for series in found:
                rows = read_rows(connection, series, COLUMNS, last)
                nominations += nominate(series, rows, accepted=known, descendants=descendants)
    if output is not None:
        from bench.report.html.sections.history import trend_page
        from bench.store.atomic import make_folder, write_bytes

        make_folder(output.parent)
        write_bytes(output, trend_page(trends, nominations).encode())

    def document() -> Document:
        from bench.tables.document import Place
        from bench.tables.history import trend_document, trends_document

        found = trend_document(trends[0]) if len(trends) == 1 else trends_document(trends)
        return [*found, *([] if output is None else [Place(text=f"Page: {output}", close=True)])]

    answer("history show", format, document, trends=trends)
    return ExitCode.FINE


@app.command("nominate")
def nominate_command(
    cell: CellArgument = None,
    at: Annotated[str, typer.Option("--at", help="Smallest change that is worth a look.")] = "2%",
    last: Annotated[
        int, typer.Option("--last", min=2, max=2000, help="How many newest measurements per series.")
    ] = 120,
    history: options.HistoryOption = None,
    accepted: AcceptedOption = None,
    results: options.ResultsOption = options.RESULTS,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Name changes that are worth a look, each with the `bench ab` command that can judge it.

    Never fails a build by time: the exit code is 0 however much is nominated.
    """
    from bench.cli.options import read_fraction
    from bench.store.history.database import open_history
    from bench.store.history.nominate import COLUMNS, Settings, nominate
    from bench.store.history.queries import find_series, read_rows
    from bench.tables.history import WHY_NO_VERDICT, nominations_document

    settings = Settings(last=last, at=read_fraction(at, "--at"))
    known, descendants = _accepted(accepted, results)
    nominations: list[HistoryNomination] = []
    with open_history(_where(history, results)) as opened, opened.reading() as connection, waiting():
        found = find_series(connection, cell)
        for series in told(found, "judging series", len(found)):
            rows = read_rows(connection, series, COLUMNS, settings.last)
            nominations += nominate(series, rows, accepted=known, descendants=descendants, settings=settings)
    answer(
        "history nominate",
        format,
        lambda: nominations_document(nominations, len(found)),
        nominations=nominations,
        series_looked_at=len(found),
        why_no_verdict=WHY_NO_VERDICT,
    )
    return ExitCode.FINE


@app.command("prune")
def prune_command(
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="Remove older measurements, for example 180d or 52w.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, help="Newest measurements to keep per cell and machine.", show_default=False),
    ] = None,
    unreachable: Annotated[
        bool, typer.Option("--unreachable", help="Remove those at commits that no branch or tag here reaches.")
    ] = False,
    folders: Annotated[
        bool, typer.Option("--folders", help="Also remove run folders of which all records were pruned.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes/--dry-run", help="Remove, or only print what would be removed.")] = False,
    history: options.HistoryOption = None,
    accepted: AcceptedOption = None,
    results: options.ResultsOption = options.RESULTS,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Remove old measurements from the history; those at accepted commits stay, and so do raw run folders."""
    from bench.core.errors import UsageError
    from bench.store.history.accepted import reachable_commits
    from bench.store.history.database import open_history
    from bench.store.history.prune import Limits, prune
    from bench.tables.history import pruned_document

    reachable = reachable_commits(Path.cwd()) if unreachable else None
    if unreachable and reachable is None:
        raise UsageError(
            "--unreachable needs the whole git repository of the commits; this is none, or a shallow clone"
        )
    known, _ = _accepted(accepted, results)
    limits = Limits(
        older_than_seconds=options.parse_duration(older_than, "--older-than"), keep=keep, reachable=reachable
    )
    with open_history(_where(history, results)) as opened, waiting("looking through the history"):
        done = prune(opened, limits, accepted=known, does=yes, folders_in=results if folders else None)
    answer("history prune", format, lambda: pruned_document(done), pruned=done)
    return ExitCode.USAGE if done.problems else ExitCode.FINE


def _where(history: str | None, results: Path) -> str:
    return str(results / "history.sqlite") if history is None else history


def _accepted(path: Path | None, results: Path) -> tuple[tuple[AcceptedChange, ...], Descendants]:
    """Read the accepted changes, and make the function that asks git about them.

    Raises:
        StoreError: A line makes no sense, or a file that was named is not there.
    """
    from bench.core.errors import StoreError
    from bench.store.history.accepted import descendants, read_accepted

    if path is not None and not path.is_file():
        raise StoreError(f"there is no file {path} of accepted changes")
    folder = Path.cwd()
    return read_accepted(path or results / "accepted.csv"), lambda commit: descendants(folder, commit)
