"""Judge whether one revision is slower than another.

Compares two revisions, folders or environments, interleaved in fresh pairs of live processes. Exit code 1 if head is
slower, 4 if something cannot be compared or the machine is unfit, 5 if a side is missing.

Examples:
    bench ab origin/main HEAD my_net
    bench ab v1.0 . my_suite.toml --budget 20m --markdown verdict.md
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options
from bench.cli.output import answer, look
from bench.core.errors import ExitCode, StoreError
from bench.suite.command import RUN_ONLY

if TYPE_CHECKING:
    from bench.core.comparison import Heading
    from bench.runner.ab.run import Compared

PANEL = "Compare"


@options.axes(without=RUN_ONLY)
def command(
    base: Annotated[str, typer.Argument(help="Git revision or folder to compare with.")],
    head: Annotated[str, typer.Argument(help="Revision or folder to judge; '.' includes uncommitted changes.")],
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="SUITE|MODEL", help="Suite files of the head, or models.", show_default=False),
    ] = None,
    *,
    axes: options.Axes,
    base_python: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Interpreter of the base, to compare environments.", show_default="this one"),
    ] = None,
    sessions: options.SessionsOption = 18,
    quads: Annotated[int, typer.Option(min=1, help=options.QUADS_HELP)] = 12,
    fail_at: Annotated[str, typer.Option(help="A slowdown of this size fails, once shown.")] = "2%",
    tolerate: Annotated[str, typer.Option(help="A slowdown of this size must be excluded to pass.")] = "5%",
    alpha: Annotated[float, typer.Option(help="Chance of any false alarm in the whole suite.")] = 0.05,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 3 if a verdict is inconclusive.")] = False,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Longest time for all, for example 20m.", show_default="none")
    ] = None,
    seed: options.CoinsOption = None,
    void: options.VoidOption = True,
    bind: Annotated[
        bool, typer.Option("--bind/--no-bind", help="CPU: threads of both sides on the same cores.")
    ] = True,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the report as Markdown here.", show_default="no file"),
    ] = None,
    results: options.ResultsOption = options.RESULTS,
    quiet: options.QuietOption = False,
    format: options.ReportFormatOption = options.ReportFormat.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.cli.progress import Watcher, terminated_like_interrupted
    from bench.runner.ab.calibration import spreads_of_cells
    from bench.runner.ab.judging import exit_code
    from bench.runner.ab.run import Request, compare_sides, side_document, to_document
    from bench.runner.ab.stages import Settings, draw_seed
    from bench.store.stored import heading

    settings = Settings(
        sessions=sessions,
        quads=quads,
        threshold=options.read_threshold(fail_at, tolerate, alpha),
        budget_seconds=options.parse_duration(budget, "--budget"),
        judges_state=void,
        binds_threads=bind,
        seed=draw_seed() if seed is None else seed,
    )
    request = Request(
        base=base,
        head=head,
        targets=tuple(targets or ()),
        axes=axes,
        base_python=base_python,
        settings=settings,
        results=results,
        spreads=spreads_of_cells(results, settings),
    )
    with terminated_like_interrupted():
        compared = compare_sides(request, Watcher(is_quiet=quiet))
    words = heading(to_document(compared, settings))
    if markdown is not None:
        _write_markdown(compared, words, markdown)
    answer(
        "ab",
        format,
        lambda: _text(compared, words, format),
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
    return exit_code(compared.comparisons, unfit=compared.unfit is not None, strict=strict) or ExitCode.FINE


def _text(compared: Compared, heading: Heading, format: options.ReportFormat) -> str:  # noqa: A002
    from bench.report.formats.markdown import comparison_markdown
    from bench.tables.comparison import comparison_report

    if format is options.ReportFormat.MARKDOWN:
        return comparison_markdown(compared.comparisons, heading).rstrip("\n")
    return f"{comparison_report(compared.comparisons, heading, **look())}\nResults: {compared.folder}"


def _write_markdown(compared: Compared, heading: Heading, path: Path) -> None:
    from bench.report.formats.markdown import comparison_markdown

    try:
        path.write_text(comparison_markdown(compared.comparisons, heading), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; the run is in {compared.folder}") from error
