"""`bench compare`: two stored runs side by side; nominates, never judges."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options
from bench.cli.output import print_json, terminal_width, uses_color
from bench.core.errors import ExitCode


def command(
    base: Annotated[str, typer.Argument(help="Path, id or 'latest' of a run, or a JSON file of pytest-benchmark.")],
    head: Annotated[str, typer.Argument(help="The same, of the other side.")],
    force: Annotated[bool, typer.Option("--force", help="Compare although machines or settings differ.")] = False,
    results: options.ResultsOption = Path("results"),
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Put two stored runs side by side, and name what is worth a 'bench ab'.

    Never fails a build by time. Exit code 4 if the runs were measured under different conditions.
    """
    from bench.runner.compare import compare_runs
    from bench.tables.comparison import WHY_NOT, nominations_report
    from bench.tables.figures import is_unicode

    nominated = compare_runs(base, head, results=results, is_forced=force)
    if format is options.Format.JSON:
        print_json(
            "compare",
            nominations=nominated.nominations,
            commands=nominated.commands,
            notes=nominated.notes,
            why_no_verdict=WHY_NOT,
        )
        return ExitCode.FINE
    print(
        nominations_report(
            nominated.nominations,
            commands=nominated.commands,
            notes=nominated.notes,
            width=terminal_width(),
            color=uses_color(),
            unicode=is_unicode(sys.stdout.encoding),
        )
    )
    return ExitCode.FINE
