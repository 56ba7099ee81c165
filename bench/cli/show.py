"""Print a stored run again, in one of several formats.

Measures nothing. Exit code 5 if the run has no record.

Examples:
    bench show
    bench show latest --format csv --table layers
"""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options
from bench.cli.output import look, print_json
from bench.core.errors import ExitCode, NothingMeasuredError, UsageError

if TYPE_CHECKING:
    from bench.store.stored import StoredComparison, StoredRun

PANEL = "Results"


class Format(StrEnum):
    """How a run is printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"


class Table(StrEnum):
    """The tables of a run; a test holds them equal to those of `bench.tables.catalog`."""

    CELLS = "cells"
    PHASES = "phases"
    LAYERS = "layers"
    CLAIMS = "claims"
    SCALING = "scaling"


def command(
    run: Annotated[
        str, typer.Argument(help="Id of the run, a beginning of it, its folder, or latest (with records).")
    ] = "latest",
    format: Annotated[  # noqa: A002 - the name of the option
        Format, typer.Option("--format", help="For a terminal, a comment, a paper, a spreadsheet, a program.")
    ] = Format.TABLE,
    width: Annotated[
        int | None, typer.Option(min=20, help="Columns of the table.", show_default="the terminal's")
    ] = None,
    table: Annotated[Table, typer.Option("--table", help="With csv: which table.")] = Table.CELLS,
    results: options.ResultsOption = options.RESULTS,
) -> int:
    from bench.store.runs import RunFolder
    from bench.store.stored import read_stored_run

    data = read_stored_run(RunFolder.open(run, results, prefers_records=True))
    for problem in data.problems:
        print(f"bench: {problem}", file=sys.stderr)
    if data.comparison is not None:
        return _show_comparison(data, data.comparison, format, width)
    if not data.records:
        raise NothingMeasuredError(f"{data.folder} holds no record that can be read; {_advice(data)}")
    if format is Format.JSON:
        print_json("show", folder=str(data.folder), run=data.info, records=data.records, claims=data.claims)
    elif format is Format.CSV:
        _print_csv(data, table)
    else:
        print(_text(data, format, width))
    return ExitCode.FINE


def _advice(data: StoredRun) -> str:
    """Say what else can be done with a run without records, as those of `bench train`, `generate` and `sample` are."""
    if data.has_cases:
        return f"bench report {data.id} shows what else is in it"
    return "measure it with bench run --resume"


def _text(data: StoredRun, format: Format, width: int | None) -> str:  # noqa: A002
    from bench.report.ci.comment import run_comment
    from bench.report.formats.latex import latex_table
    from bench.report.formats.terminal import cells_table, claims_table

    if format is Format.MARKDOWN:
        return run_comment(data.records, data.claims, data.environment).rstrip("\n")
    if format is Format.LATEX:
        return latex_table(data.records, data.environment, data.id).rstrip("\n")
    page = look() | ({} if width is None else {"width": width})
    parts = [cells_table(data.records, **page), *([claims_table(data.claims, **page)] if data.claims else [])]
    return "\n\n".join([*parts, f"Results: {data.folder}"])


def _print_csv(data: StoredRun, table: Table) -> None:
    from bench.report.files import to_csv, to_frame

    rows = data.claims if table is Table.CLAIMS else data.records
    print(to_csv(to_frame(rows, table.value)).decode(), end="")


def _show_comparison(run: StoredRun, found: StoredComparison, format: Format, width: int | None) -> int:  # noqa: A002
    """Print what `bench ab` found."""
    from bench.report.formats.markdown_subjects import comparison_markdown
    from bench.tables.comparison import comparison_report

    if format in (Format.LATEX, Format.CSV):
        raise UsageError(f"{run.folder} is a comparison, which has no {format.value}; use table, markdown or json")
    if format is Format.JSON:
        print_json("show", folder=str(run.folder), run=run.info, heading=found.heading, comparisons=found.comparisons)
    elif format is Format.MARKDOWN:
        print(comparison_markdown(found.comparisons, found.heading), end="")
    else:
        page = look() | ({} if width is None else {"width": width})
        print(comparison_report(found.comparisons, found.heading, **page))
    return ExitCode.FINE
