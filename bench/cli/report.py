"""Write stored runs as one HTML page.

The page needs no server and no network. Several runs are shown side by side; the first is the base. Changes between
them are nominated, never judged.

Examples:
    bench report
    bench report 20261123-192034 latest -o compared.html
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options
from bench.cli.output import answer, say
from bench.core.errors import ExitCode

PANEL = "Results"


def command(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Runs or comparisons ('bench ab'): folder, id, beginning of an id or 'latest', which is the default.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="File to write.")] = Path(
        "report.html"
    ),
    history: options.HistoryOption = None,
    results: options.ResultsOption = options.RESULTS,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.cli.progress import waiting
    from bench.core.units import format_bytes
    from bench.runner.reporting import read_report_data, write_report

    with waiting("reading the runs and writing the page"):
        data = read_report_data(runs or ["latest"], results)
        if history is not None or (results / "history.sqlite").is_file():
            from bench.runner.reporting import with_history

            data = with_history(data, history, results)
        size = write_report(data, output)
    words = f"Report: {output} ({format_bytes(size)})"
    problems = [problem for run in data.runs for problem in run.problems]
    for problem in problems:
        say(problem)
    runs = [run.id for run in data.runs]
    answer("report", format, lambda: words, file=str(output), bytes=size, runs=runs, cells=len(data.rows))
    return ExitCode.USAGE if problems else ExitCode.FINE
