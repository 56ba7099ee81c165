"""`bench calibrate`: what this machine's noise is when nothing changed, and what a comparison here can see."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import ab_options, options
from bench.core.errors import ExitCode

DEFAULT_TARGETS = ("mlp", "my_net")


def command(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="SUITE|MODEL", help="Default: mlp and my_net.", show_default=False),
    ] = None,
    batch_size: options.BatchOption = None,
    mode: options.ModeOption = None,
    device: options.DeviceOption = None,
    precision: options.PrecisionOption = None,
    input_shape: options.ShapeOption = None,
    threads: options.ThreadsOption = None,
    sessions: Annotated[int, typer.Option(min=6, help="Fresh pairs of processes.")] = 14,
    quads: Annotated[int, typer.Option(min=2, help="Quads (4 visits) per session and cell.")] = 12,
    alpha: Annotated[float, typer.Option(help="Level at which comparisons here are judged.")] = 0.05,
    seed: ab_options.SeedOption = None,
    void: ab_options.VoidOption = True,
    results: options.ResultsOption = Path("results"),
    quiet: ab_options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Measure unchanged code against itself, and keep what that says of this machine.

    'bench ab' reads it: a benchmark whose detectable slowdown exceeds its threshold says "cannot judge", never same.
    """
    from bench.cli.ab_output import Watcher, terminated_like_interrupted
    from bench.cli.output import print_json, terminal_width, uses_color
    from bench.runner.ab.calibration import calibrate
    from bench.runner.ab.run import Request
    from bench.runner.ab.stages import Settings, draw_seed
    from bench.tables.machine import calibration_report

    axes = options.read_axes(
        batch_size=batch_size,
        mode=mode,
        device=device,
        precision=precision,
        input_shape=input_shape,
        threads=threads,
    )
    settings = Settings(
        sessions=sessions,
        confirm_sessions=0,
        quads=quads,
        threshold=ab_options.read_threshold("2%", "5%", alpha),
        seed=draw_seed() if seed is None else seed,
        judges_state=void,
    )
    request = Request(
        base=".",
        head=".",
        targets=tuple(targets or DEFAULT_TARGETS),
        axes=axes,
        settings=settings,
        results=results,
    )
    with terminated_like_interrupted():
        calibrated = calibrate(request, Watcher(is_quiet=quiet))
    if format is options.Format.JSON:
        print_json("calibrate", file=str(calibrated.path), calibration=calibrated.calibration)
    else:
        width, color = terminal_width(), uses_color()
        print(calibration_report(calibrated.noises, width=width, color=color))
        print(f"Kept: {calibrated.path}")
    return ExitCode.FINE
