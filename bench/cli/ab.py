"""Judge whether one revision is slower than another.

Compares two revisions, folders or environments, interleaved in fresh pairs of live processes. Exit code 1 if head is
slower, 4 if something cannot be compared or the machine is unfit, 5 if a side is missing.

Examples:
    bench ab origin/main HEAD my_net
    bench ab v1.0 . my_suite.toml --budget 20m --markdown verdict.md
    bench ab --model-a my_net --set-b precision=bf16-amp,batch-size=16
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options
from bench.cli.output import answer, results_place
from bench.core.comparison import ComparisonVerdict
from bench.core.errors import ExitCode, StoreError, UsageError
from bench.suite.sweep import RUN_ONLY

if TYPE_CHECKING:
    from bench.runner.ab.run import Compared
    from bench.runner.ab.stages import Settings

PANEL = "Compare"


class FailIf(StrEnum):
    """Which result of two models fails."""

    SLOWER = "slower"


@options.axes(without=RUN_ONLY)
def command(
    base: Annotated[
        str | None, typer.Argument(help="Git revision or folder to compare with.", show_default=False)
    ] = None,
    head: Annotated[
        str | None,
        typer.Argument(help="Revision or folder to judge; '.' includes uncommitted changes.", show_default=False),
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="SUITE|MODEL", help="Suite files of the head, or models.", show_default=False),
    ] = None,
    *,
    axes: options.Axes,
    model_a: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Compare two models of this folder; the first.", show_default="none"),
    ] = None,
    model_b: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The second model, B.", show_default="as A")
    ] = None,
    set_b: Annotated[
        str | None,
        typer.Option(metavar="AXIS=VALUE,...", help="What differs in B, e.g. compile=default.", show_default="nothing"),
    ] = None,
    fail_if: Annotated[
        FailIf | None, typer.Option(help="Exit code 1 if B is slower than A.", show_default="never")
    ] = None,
    base_python: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Interpreter of the base, to compare environments.", show_default="this one"),
    ] = None,
    sessions: options.SessionsOption = 18,
    quads: Annotated[int, typer.Option(min=1, help=options.QUADS_HELP)] = 12,
    fail_at: Annotated[str, typer.Option(help="A slowdown of this size fails, once shown.")] = "2%",
    tolerate: Annotated[str, typer.Option(help="SAME needs a slowdown of this size excluded.")] = "5%",
    alpha: Annotated[float, typer.Option(help="Chance of a false alarm in the whole suite.")] = 0.05,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 3 if a verdict is inconclusive.")] = False,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Longest time of the comparison, for example 20m.", show_default="none"),
    ] = None,
    timeout: options.AnswerLimitOption = None,
    wait: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Wait up to this long for a quiet machine, e.g. 5m.", show_default="no wait"),
    ] = None,
    seed: options.CoinsOption = None,
    void: options.VoidOption = True,
    cold_cache: options.ColdCacheOption = False,
    lock_clocks: options.LockClocksOption = False,
    bind: Annotated[
        bool, typer.Option("--bind/--no-bind", help="CPU: threads of both sides on the same cores.")
    ] = True,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the report as Markdown here.", show_default="no file"),
    ] = None,
    results: options.ResultsOption = options.RESULTS,
    quiet: options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.cli.progress import watching_sessions
    from bench.runner.ab.calibration import spreads_of_cells
    from bench.runner.ab.judging import exit_code
    from bench.runner.ab.ratios import cells_of, compare_cells
    from bench.runner.ab.run import Request, compare_sides
    from bench.runner.ab.scout import wait_for_quiet
    from bench.runner.ab.stages import Settings, draw_seed
    from bench.runner.plan import check_cells

    patience = options.parse_duration(wait, "--wait")
    settings = Settings(
        sessions=sessions,
        quads=quads,
        threshold=options.read_threshold(fail_at, tolerate, alpha),
        budget_seconds=options.parse_duration(budget, "--budget"),
        timeout_seconds=options.parse_duration(timeout, "--timeout"),
        judges_state=void,
        cold_cache=cold_cache,
        lock_clocks=lock_clocks,
        binds_threads=bind,
        seed=draw_seed() if seed is None else seed,
    )
    if model_a is not None or model_b is not None or set_b is not None:
        if base is not None or base_python is not None:
            raise UsageError("--model-a compares within this folder; leave out revisions and --base-python")
        a, b = cells_of(model_a, model_b, axes, set_b)
        check_cells((a, b))
        with watching_sessions(is_quiet=quiet) as listen:
            compared = compare_cells(a, b, settings, results, listen, partial(wait_for_quiet, patience, listen))
        (comparison,) = compared.comparisons
        _answer(compared, settings, format, markdown)
        if compared.unfit is not None:
            return ExitCode.UNFIT
        if fail_if is not None and comparison.verdict is ComparisonVerdict.SLOWER:
            return ExitCode.REGRESSION
        is_open = comparison.verdict is ComparisonVerdict.INCONCLUSIVE
        return ExitCode.INCONCLUSIVE if strict and is_open else ExitCode.FINE
    if base is None or head is None:
        raise UsageError("name BASE and HEAD, for example origin/main HEAD; or --model-a and --model-b")
    if fail_if is not None:
        raise UsageError("--fail-if belongs to --model-a and --set-b; a slower revision always fails")
    with watching_sessions(is_quiet=quiet) as listen:
        request = Request(
            base=base,
            head=head,
            targets=tuple(targets or ()),
            axes=axes,
            base_python=base_python,
            settings=settings,
            results=results,
            spreads=spreads_of_cells(results, settings),
            get_ready=partial(wait_for_quiet, patience, listen),
        )
        compared = compare_sides(request, listen)
    _answer(compared, settings, format, markdown)
    return exit_code(compared.comparisons, unfit=compared.unfit is not None, strict=strict) or ExitCode.FINE


def _answer(
    compared: Compared,
    settings: Settings,
    format: options.Format,  # noqa: A002 - the name of the option
    markdown: Path | None,
) -> None:
    from bench.runner.ab.run import side_document, to_document
    from bench.store.stored import heading
    from bench.tables.comparison import comparison_document

    words = heading(to_document(compared, settings))
    document = [*comparison_document(compared.comparisons, words), results_place(compared.folder)]
    if markdown is not None:
        from bench.report.formats.markdown import write_document

        try:
            markdown.write_text(f"{write_document(document)}\n", encoding="utf-8")
        except OSError as error:
            raise StoreError(f"cannot write {markdown}: {error.strerror}; the run is in {compared.folder}") from error
    answer(
        "ab",
        format,
        lambda: document,
        folder=str(compared.folder),
        base=side_document(compared.base),
        head=side_document(compared.head),
        seed=compared.seed,
        seconds=compared.seconds,
        unfit=compared.unfit,
        is_cut_short=compared.is_cut_short,
        heading=words,
        comparisons=compared.comparisons,
    )
