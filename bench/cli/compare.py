"""Compare two stored runs; name what is worth a `bench ab`.

Cells of another environment, or measured beside other work, are listed apart and nominate nothing. Runs of `bench
profile` are also compared by layer and operation. Never fails a build by time. Exit code 4 if no cell may be compared.

Examples:
    bench compare 20261123-192034 latest
    bench compare before.json after.json --force
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options
from bench.cli.output import answer, say
from bench.core.errors import ExitCode, NothingMeasuredError

if TYPE_CHECKING:
    from bench.core.comparison import Nominated
    from bench.core.profile import ProfileDiff
    from bench.tables.document import Document

PANEL = "Compare"


def command(
    base: Annotated[
        str, typer.Argument(metavar="BASE", help="Path, id or 'latest' of a run, or a JSON file of pytest-benchmark.")
    ],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="The other side, named in the same way.")],
    force: Annotated[bool, typer.Option("--force", help="Compare cells even if machines or settings differ.")] = False,
    results: options.ResultsOption = options.RESULTS,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.cli.progress import waiting
    from bench.runner.compare import compare_stored, read_run
    from bench.runner.profiling import diff_runs, has_profiles
    from bench.tables.nominations import WHY_NOT

    with waiting("reading the runs"):
        diffs = diff_runs(base, head, results) if has_profiles(base, results) and has_profiles(head, results) else ()
        nominated: Nominated | None = None
        problems: list[str] = []  # one for each file that cannot be read
        if not diffs or not Path(base).is_file():  # else it is one profile, in a file of its own
            before, after = read_run(base, results), read_run(head, results)
            nominated, problems = compare_stored(before, after, is_forced=force), [*before.problems, *after.problems]
    for problem in problems:
        say(problem)
    found = nominated.nominations if nominated is not None else ()
    if nominated is not None and not found and not diffs:
        raise NothingMeasuredError(f"{nominated.base.id} and {nominated.head.id} have no cell in common")
    answer(
        "compare",
        format,
        lambda: _document(nominated if found else None, diffs),
        base=nominated and nominated.base,
        head=nominated and nominated.head,
        nominations=found,
        commands=nominated.commands if nominated is not None else (),
        why_no_verdict=WHY_NOT,
        diffs=diffs,
    )
    if problems:
        return ExitCode.USAGE
    is_apart = {bool(n.apart) for n in found if n.shift is not None}
    return ExitCode.UNFIT if is_apart == {True} and not diffs else ExitCode.FINE


def _document(nominated: Nominated | None, diffs: tuple[ProfileDiff, ...]) -> Document:
    from bench.tables.nominations import nominations_document
    from bench.tables.profile import diff_document

    found = [] if nominated is None else nominations_document(nominated)
    return [*found, *(block for diff in diffs for block in diff_document(diff))]
