"""Print a stored run again, in one of several formats.

Measures nothing. Exit code 5 if the run has no record.

Examples:
    bench show
    bench show latest --format csv --table layers
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options
from bench.cli.output import look, named, print_file, print_json, say, written
from bench.core.errors import ExitCode, NothingMeasuredError, UsageError
from bench.report import formats

if TYPE_CHECKING:
    from typing import TypeAlias

    from bench.store.stored import StoredRun

    Form: TypeAlias = StrEnum
else:
    Form = named("Form", [*formats.names(), "json"])

PANEL = "Results"
TABLE = Form("table")


def command(
    run: Annotated[
        str, typer.Argument(help="Id of the run, a beginning of it, its folder, or latest (with records).")
    ] = "latest",
    format: Annotated[  # noqa: A002 - the name of the option
        Form, typer.Option("--format", help="Format for a terminal, a comment, a paper, a spreadsheet or a program.")
    ] = TABLE,
    table: Annotated[
        str, typer.Option("--table", metavar="NAME", help="With csv: the table; a wrong name lists all.")
    ] = "cells",
    columns: options.ColumnsOption = "usual",
    results: options.ResultsOption = options.RESULTS,
) -> int:
    from bench.cli.progress import waiting
    from bench.runner.recorder import extra_info
    from bench.store.runs import RunFolder
    from bench.store.stored import read_stored_run
    from bench.tables.catalog import figures_of
    from bench.tables.table import Page

    with waiting("reading the run"):
        data = read_stored_run(RunFolder.open(run, results, prefers_records=True))
    for problem in data.problems:
        say(problem)
    ending = ExitCode.USAGE if data.problems else ExitCode.FINE
    found = data.comparison
    if found is None and not data.records and (data.generations or data.images):
        _show_cases(data, format, table)
        return ending
    if found is None and not data.records:
        raise NothingMeasuredError(f"{data.folder} holds no record that can be read; {_advice(data)}")
    if format == "json":
        if found is None:
            print_json(
                "show",
                folder=str(data.folder),
                run=data.info,
                records=data.records,
                figures=figures_of("records", data.records),
                claims=data.claims,
            )
        else:
            heading, comparisons = found.heading, found.comparisons
            print_json("show", folder=str(data.folder), run=data.info, heading=heading, comparisons=comparisons)
        return ending
    chosen = formats.load(format)
    view = columns.removeprefix("usual")  # which is the view without a name
    asked = formats.Asked(page=Page(**look()), table=table, view=view, extra_info=extra_info)
    show = partial(print, end="") if format == TABLE else print_file
    if found is None:
        show(chosen.write(data, asked))
    elif chosen.compare is None:
        raise UsageError(f"{data.folder} is a comparison, which has no {format}; use table, markdown or json")
    else:
        show(chosen.compare(found, asked))
    return ending


def _show_cases(data: StoredRun, format: Form, table: str) -> None:  # noqa: A002 - the name of the option
    """Print a run of `bench generate` or `bench images`.

    Raises:
        UsageError: The format cannot express such a run, or there is no such table.
    """
    from bench.runner.scenarios import GENERATION, IMAGES
    from bench.tables.catalog import figures_of
    from bench.tables.scenarios import cases_document

    kind = GENERATION if data.generations else IMAGES
    field, cases = kind.field, getattr(data, kind.field)
    if format == "json":
        print_json("show", folder=str(data.folder), run=data.info, figures=figures_of(field, cases), **{field: cases})
    elif format in ("table", "markdown"):
        words = written(cases_document(field, cases), format)
        print(words) if format == TABLE else print_file(f"{words}\n")
    elif format == "csv":
        from bench.report.files import frame_of, to_csv

        if table not in ("cells", field):  # `cells` is the default
            raise UsageError(f"{data.folder} has no table {table!r}; its table is {field}")
        print_file(to_csv(frame_of(field, cases)).decode())
    else:
        raise UsageError(
            f"{data.folder} is a run of `bench {kind.command}`, which has no {format}; use table, markdown, csv or json"
        )


def _advice(data: StoredRun) -> str:
    """Suggest what to do with a run without records, such as one of `bench train`."""
    if data.has_cases:
        return f"`bench report {data.id}` shows its other results"
    if (data.info.settings or {}).get("kind") == "bisect":
        return f"`bench bisect --resume {data.id}` prints its answer, and continues if that is undecided"
    return "measure it with `bench run --resume`"
