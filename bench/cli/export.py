"""Write a stored run in the format of another tool.

A cell that was not measured is never written as 0; it is left out if the format cannot express it. Exit code 5 if
nothing is left.

Examples:
    bench export --to junit -o junit.xml
    bench export latest --to pytest-benchmark
    bench export latest --to tensorboard -o runs
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options
from bench.cli.output import answer, named, print_file, say
from bench.core.errors import ExitCode, NothingMeasuredError, StoreError, UsageError
from bench.report import formats

if TYPE_CHECKING:
    from bench.core.claim import CheckedClaim
    from bench.core.gate import GateRow

    To = StrEnum
else:
    To = named("To", [*formats.names(), *formats.FOLDERS])

PANEL = "Results"


def command(
    run: Annotated[
        str, typer.Argument(help="Id of the run, a beginning of it, its folder, or latest (with records).")
    ] = "latest",
    to: Annotated[To, typer.Option("--to", help="Format.", show_default=False)] = ...,  # type: ignore[assignment]
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="File; for mlflow and tensorboard a folder.", show_default="standard output"
        ),
    ] = None,
    answers: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="FILE",
            help="With junit: also write this JSON answer of gate or check.",
            show_default=False,
        ),
    ] = None,
    results: options.ResultsOption = options.RESULTS,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.cli.progress import waiting
    from bench.runner.recorder import extra_info
    from bench.store.atomic import make_folder, write_bytes
    from bench.store.runs import RunFolder
    from bench.store.stored import read_stored_run
    from bench.tables.table import Page

    is_folder = to in formats.FOLDERS
    if is_folder and output is None:
        raise UsageError(f"--to {to} writes a folder; name it with -o")
    if is_folder and importlib.util.find_spec(to) is None:
        raise UsageError(
            f"--to {to} needs the package {to}, which is not installed; install stepbench with its extra {to!r}"
        )
    chosen = formats.load(to)
    if answers and not chosen.holds_verdicts:
        raise UsageError(f"--with adds verdicts, which {to} cannot express; use it with --to junit")
    with waiting("reading the run"):
        data = read_stored_run(RunFolder.open(run, results, prefers_records=True))
    for problem in data.problems:
        say(problem)
    if data.comparison is not None:
        raise UsageError(f"{data.folder} is a comparison of `bench ab`, not a run; `bench show` prints it")
    if not data.records and (data.generations or data.images):
        words = "texts or images, not cells; `bench show` prints them, with `--format csv` as a table"
        raise UsageError(f"{data.folder} holds measured {words}")
    claims, rows = _read_answers(answers or [])
    stored = replace(data, claims=(*data.claims, *claims) if chosen.holds_claims else (), gate=rows)
    written = stored.records or stored.claims or stored.gate if chosen.holds_failures else stored.measured
    if not written:
        raise NothingMeasuredError(
            f"no cell of {stored.folder} was measured, so there is nothing to write as {to}; `bench show` says why"
        )
    text = chosen.write(stored, formats.Asked(page=Page(), extra_info=extra_info))
    left_out = len(stored.unmeasured)
    if left_out and not chosen.holds_failures:
        say(f"{left_out} of {len(stored.records)} cells were not measured and are left out")
    if chosen.write_folder is not None and output is not None:
        make_folder(output, "choose another folder with -o")
        chosen.write_folder(stored, output)
    elif output is not None:
        write_bytes(output, text.encode("utf-8", "backslashreplace"))
    elif format == options.Format.TABLE:
        print_file(text)
    shown = text if output is None else None
    answer("export", format, str, to=to, file=output and str(output), text=shown, left_out=left_out)
    return ExitCode.USAGE if data.problems else ExitCode.FINE


def _read_answers(paths: list[Path]) -> tuple[tuple[CheckedClaim, ...], tuple[GateRow, ...]]:
    """Read what `bench check` and `bench gate` answered with --format json, or `bench ci` kept."""
    from bench.core.files import read_file
    from bench.core.jsonio import parse_json
    from bench.runner.ci.steps import read_answer
    from bench.store.atomic import store_error

    claims: list[CheckedClaim] = []
    rows: list[GateRow] = []
    for path in paths:
        try:
            found_claims, found_rows = read_answer(parse_json(read_file(path)))
        except OSError as error:
            raise store_error("read", path, error) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{path} is no answer of gate or check ({error}); make it with --format json") from error
        claims += found_claims
        rows += found_rows
    return tuple(claims), tuple(rows)
