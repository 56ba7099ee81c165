"""Find the commit that made a model slower.

Compares both ends as `bench ab` does, searches between them one session at a time, and confirms the named commit on
fresh sessions. Exit code 1 if a step was confirmed, 0 if there is none, 3 if undecided, 4 if an end or all commits
between cannot be measured, or the machine spoils the sessions.

Examples:
    bench bisect v1.0 HEAD my_net
    bench bisect HEAD~40 HEAD net.py:Net --input-shape 3x64x64 --budget 20m
    bench bisect --resume latest
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated

import typer

from bench.cli import options
from bench.cli.output import answer, results_place
from bench.core.comparison import BisectVerdict
from bench.core.errors import ExitCode, UsageError
from bench.suite.sweep import RUN_ONLY

PANEL = "Compare"
QUADS, FAIL_AT, ALPHA = 12, "2%", 0.05

EXIT_CODES = MappingProxyType(
    {
        BisectVerdict.FOUND: ExitCode.REGRESSION,
        BisectVerdict.NO_STEP: ExitCode.FINE,
        BisectVerdict.UNDECIDED: ExitCode.INCONCLUSIVE,
        BisectVerdict.UNBUILDABLE: ExitCode.UNFIT,
        BisectVerdict.UNFIT: ExitCode.UNFIT,
    }
)


@options.axes(without=RUN_ONLY)
def command(
    good: Annotated[
        str | None, typer.Argument(help="Revision where it was still fast; an ancestor of BAD.", show_default=False)
    ] = None,
    bad: Annotated[str | None, typer.Argument(help="Revision where it is slow.", show_default=False)] = None,
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="SUITE|MODEL", help="Suite files of BAD, or models.", show_default=False),
    ] = None,
    *,
    axes: options.Axes,
    paths: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH", help="Suspect only commits that touch this.", show_default="all but docs and tests"
        ),
    ] = None,
    all_parents: Annotated[
        bool, typer.Option("--all-parents", help="Also suspect the commits of merged branches.")
    ] = False,
    one_step: Annotated[
        bool, typer.Option("--one-step", help="Expect one step: fewer sessions, but blind to two.")
    ] = False,
    quads: Annotated[int, typer.Option(min=1, help=options.QUADS_HELP)] = QUADS,
    fail_at: Annotated[str, typer.Option(help="Smallest slowdown that counts as a step.")] = FAIL_AT,
    tolerate: Annotated[
        str | None, typer.Option(help="No step if a change of this size is excluded.", show_default="--fail-at")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Chance that a confirmed commit is a wrong one.")] = ALPHA,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Longest time of the search, for example 20m.", show_default="none"),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="Continue this bisection: its id, folder, or latest.", show_default="a new one"
        ),
    ] = None,
    seed: options.CoinsOption = None,
    void: options.VoidOption = True,
    results: options.ResultsOption = options.RESULTS,
    quiet: options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.cli.progress import watching_sessions
    from bench.runner.ab.bisect_run import Question, bisect_revisions, resume_bisection
    from bench.runner.ab.stages import Settings, draw_seed
    from bench.tables.comparison import bisection_document

    budget_seconds = options.parse_duration(budget, "--budget")
    if resume is not None:
        typed = {
            "--paths": paths,
            "--all-parents": all_parents,
            "--one-step": one_step,
            "--quads": quads != QUADS,
            "--fail-at": fail_at != FAIL_AT,
            "--tolerate": tolerate is not None,
            "--alpha": alpha != ALPHA,
            "--seed": seed is not None,
            "--no-void": not void,
        }
        if good is not None or axes or any(typed.values()):
            named = "".join(f", {option}" for option, is_typed in typed.items() if is_typed)
            raise UsageError(f"--resume takes revisions, models and their options{named} from the run; leave them out")
        with watching_sessions(is_quiet=quiet) as listen:
            folder, bisected = resume_bisection(resume, results, budget_seconds, listen)
    else:
        if good is None or bad is None:
            raise UsageError("name GOOD and BAD, for example HEAD~20 HEAD, and a model")
        settings = Settings(
            quads=quads,
            threshold=options.read_threshold(fail_at, fail_at if tolerate is None else tolerate, alpha),
            budget_seconds=budget_seconds,
            judges_state=void,
            seed=draw_seed() if seed is None else seed,
        )
        question = Question(
            good=good,
            bad=bad,
            targets=tuple(targets or ()),
            paths=tuple(paths or ()),
            has_all_parents=all_parents,
            expects_one=one_step,
            settings=settings,
        )
        with watching_sessions(is_quiet=quiet) as listen:
            folder, bisected = bisect_revisions(question, axes, results, listen)
    answer(
        "bisect",
        format,
        lambda: [*bisection_document(bisected), results_place(folder)],
        folder=str(folder),
        bisected=bisected,
    )
    return EXIT_CODES[bisected.verdict]
