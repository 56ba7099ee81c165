"""`bench ab`: is head slower than base? A verdict with a known false-alarm rate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import ab_options, options
from bench.core.errors import ExitCode


def command(
    base: Annotated[str, typer.Argument(help="Git revision or folder to compare with.")],
    head: Annotated[str, typer.Argument(help="Revision or folder to judge; '.' includes uncommitted changes.")],
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="SUITE|MODEL", help="Suite files of the head, or models.", show_default=False),
    ] = None,
    batch_size: options.BatchOption = None,
    mode: options.ModeOption = None,
    device: options.DeviceOption = None,
    precision: options.PrecisionOption = None,
    optimizer: options.OptimizerOption = None,
    compile: options.CompileOption = None,  # noqa: A002 - the name of the option
    memory_format: options.MemoryFormatOption = None,
    input_shape: options.ShapeOption = None,
    threads: options.ThreadsOption = None,
    base_python: Annotated[
        str | None, typer.Option(help="Interpreter of the base, to compare environments.", show_default=False)
    ] = None,
    sessions: Annotated[int, typer.Option(min=1, help="Sessions of the screen.")] = 6,
    confirm: ab_options.ConfirmOption = 8,
    extend: ab_options.ExtendOption = 6,
    quads: Annotated[int, typer.Option(min=1, help="Quads (4 visits) per session and cell.")] = 12,
    fail_at: Annotated[str, typer.Option(help="A confirmed slowdown of this size fails.")] = "2%",
    tolerate: Annotated[str, typer.Option(help="A slowdown of this size must be excluded to pass.")] = "5%",
    alpha: Annotated[float, typer.Option(help="Chance of any false alarm in the whole suite.")] = 0.05,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 3 if a verdict is inconclusive.")] = False,
    budget: Annotated[str | None, typer.Option(help="Longest time for all, for example 20m.")] = None,
    seed: ab_options.SeedOption = None,
    void: ab_options.VoidOption = True,
    bind: Annotated[
        bool, typer.Option("--bind/--no-bind", help="CPU: threads of both sides on the same cores.")
    ] = True,
    markdown: Annotated[Path | None, typer.Option(help="Also write the report as Markdown here.")] = None,
    results: options.ResultsOption = Path("results"),
    quiet: ab_options.QuietOption = False,
    format: ab_options.ReportFormatOption = ab_options.ReportFormat.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Compare two revisions, folders or environments, interleaved in fresh pairs of live processes.

    Exit code 1 if head is slower, 4 if something cannot be compared or the machine is unfit, 5 if a side is missing.
    """
    from bench.cli.ab_output import Watcher, print_compared, terminated_like_interrupted
    from bench.runner.ab.calibration import spreads_of_cells
    from bench.runner.ab.judging import exit_code
    from bench.runner.ab.run import Request, compare_sides
    from bench.runner.ab.stages import Settings, draw_seed

    axes = options.read_axes(
        batch_size=batch_size,
        mode=mode,
        device=device,
        precision=precision,
        optimizer=optimizer,
        compile=compile,
        memory_format=memory_format,
        input_shape=input_shape,
        threads=threads,
    )
    settings = Settings(
        sessions=sessions,
        confirm_sessions=confirm,
        extend_sessions=extend,
        quads=quads,
        threshold=ab_options.read_threshold(fail_at, tolerate, alpha),
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
    print_compared(compared, settings, format=format, markdown=markdown)
    return exit_code(compared.comparisons, unfit=compared.unfit is not None, strict=strict) or ExitCode.FINE
