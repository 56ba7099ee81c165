"""Compare two stored runs; name what is worth a `bench ab`.

Of runs of `bench profile`, the layers and operations too. Never fails a build by time. Exit code 4 if the runs were
measured under different conditions.

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
    head: Annotated[str, typer.Argument(metavar="HEAD", help="The same, of the other side.")],
    force: Annotated[bool, typer.Option("--force", help="Compare although machines or settings differ.")] = False,
    results: options.ResultsOption = options.RESULTS,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.core.comparison import Nominated
    from bench.runner.profiling import diff_runs, has_profiles
    from bench.tables.comparison import WHY_NOT

    diffs = diff_runs(base, head, results) if has_profiles(base, results) and has_profiles(head, results) else ()
    nominated = Nominated(base=base, head=head)
    problems: tuple[str, ...] = ()
    if not (diffs and Path(base).is_file()):  # one profile, in a file of its own
        nominated, problems = _nominate(base, head, results, is_forced=force, has_diffs=bool(diffs))
    for problem in problems:
        say(problem)
    answer(
        "compare",
        format,
        lambda: _document(nominated, diffs),
        nominations=nominated.nominations,
        commands=nominated.commands,
        notes=nominated.notes,
        why_no_verdict=WHY_NOT,
        diffs=diffs,
    )
    return ExitCode.USAGE if problems else ExitCode.FINE


def _nominate(
    base: str, head: str, results: Path, *, is_forced: bool, has_diffs: bool
) -> tuple[Nominated, tuple[str, ...]]:
    """Compare two runs; also return what of them cannot be read."""
    from bench.core.comparison import Nominated
    from bench.runner.compare import compare_stored, read_run

    before, after = read_run(base, results), read_run(head, results)
    problems = (*before.problems, *after.problems)
    try:
        return compare_stored(before, after, is_forced=is_forced), problems
    except NothingMeasuredError:  # two profiles may be compared although their cells differ
        if not has_diffs:
            raise
    return Nominated(base=base, head=head), problems


def _document(nominated: Nominated, diffs: tuple[ProfileDiff, ...]) -> Document:
    from bench.tables.comparison import nominations_document
    from bench.tables.profile import diff_document

    return [*nominations_document(nominated), *(block for diff in diffs for block in diff_document(diff))]
