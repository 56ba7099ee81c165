"""`bench show`: print a stored run again."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options
from bench.cli.output import look, print_json
from bench.core.errors import ExitCode, NothingMeasuredError, StoreError, SuiteError

if TYPE_CHECKING:
    from bench.core.claim import CheckedClaim
    from bench.core.record import Record
    from bench.store.records import RunFolder


class Format(StrEnum):
    """How a run is printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"


class Table(StrEnum):
    """The tables of a run."""

    CELLS = "cells"
    PHASES = "phases"
    LAYERS = "layers"
    CLAIMS = "claims"


def command(
    run: Annotated[str, typer.Argument(help="Id of the run, a beginning of it, its folder, or latest.")] = "latest",
    format: Annotated[  # noqa: A002 - the name of the option
        Format, typer.Option("--format", help="For a terminal, a comment, a paper, a spreadsheet, a program.")
    ] = Format.TABLE,
    width: Annotated[
        int | None, typer.Option(min=20, help="Columns of the table; default: the terminal's.", show_default=False)
    ] = None,
    table: Annotated[Table, typer.Option("--table", help="With csv: which table.")] = Table.CELLS,
    results: options.ResultsOption = Path("results"),
) -> int:
    """Print a stored run again, as a table, Markdown for a comment, LaTeX, CSV or JSON.

    Measures nothing. Exit code 5 if the run has no record.
    """
    from bench.store.claims import read_claims
    from bench.store.records import RunFolder

    folder = RunFolder.open(run, results)
    if (folder.path / "comparison.json").is_file():
        return _show_comparison(folder, format, width)
    records, problems = folder.read_records()
    for problem in problems:
        print(f"bench: {problem}", file=sys.stderr)
    if not records:
        raise NothingMeasuredError(
            f"{folder.path} holds no record that can be read; measure it with bench run --resume"
        )
    claims = read_claims(folder)
    if format is Format.JSON:
        print_json("show", folder=str(folder.path), run=folder.run, records=records, claims=claims)
    elif format is Format.CSV:
        _print_csv(records, claims, table)
    else:
        print(_text(folder, records, claims, format, width))
    return ExitCode.FINE


def _text(
    folder: RunFolder,
    records: tuple[Record, ...],
    claims: tuple[CheckedClaim, ...],
    format: Format,  # noqa: A002 - the name of the option
    width: int | None,
) -> str:
    from bench.report.comment import run_comment
    from bench.report.latex import latex_table
    from bench.report.terminal import cells_table, claims_table

    environment = folder.run.environment
    if format is Format.MARKDOWN:
        return run_comment(records, claims, environment).rstrip("\n")
    if format is Format.LATEX:
        return latex_table(records, environment, folder.run.id).rstrip("\n")
    page = look() | ({} if width is None else {"width": width})
    parts = [cells_table(records, **page), *([claims_table(claims, **page)] if claims else [])]
    return "\n\n".join([*parts, f"Results: {folder.path}"])


def _print_csv(records: tuple[Record, ...], claims: tuple[CheckedClaim, ...], table: Table) -> None:
    from bench.store.tables import to_csv, to_frame

    text = to_csv(to_frame(claims if table is Table.CLAIMS else records, table.value)).decode()
    print(text, end="")


def _show_comparison(folder: RunFolder, format: Format, width: int | None) -> int:  # noqa: A002
    """Print what `bench ab` found."""
    from bench.cli.ab_output import stored_heading
    from bench.core.comparison import Comparison
    from bench.core.jsonio import from_json
    from bench.report.comparison import comparison_markdown, comparison_report

    if format in (Format.LATEX, Format.CSV):
        raise SuiteError(f"{folder.path} is a comparison, which has no {format.value}; use table, markdown or json")
    document = _read(folder.path / "comparison.json")
    if format is Format.JSON:
        print_json("show", folder=str(folder.path), run=folder.run, comparison=document)
        return ExitCode.FINE
    comparisons = tuple(from_json(Comparison, one) for one in document["comparisons"])
    heading = stored_heading(document)
    if format is Format.MARKDOWN:
        print(comparison_markdown(comparisons, heading), end="")
    else:
        print(comparison_report(comparisons, heading, **(look() | ({} if width is None else {"width": width}))))
    return ExitCode.FINE


def _read(path: Path) -> dict[str, Any]:
    from bench.store.atomic import store_error

    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise store_error("read", path, error) from error
    except ValueError as error:
        raise StoreError(f"{path} is not whole JSON ({error})") from error
    if not isinstance(document, dict) or "comparisons" not in document:
        raise StoreError(f"{path} is no comparison of stepbench")
    return document
