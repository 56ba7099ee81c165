"""`bench selftest`: do the verdicts hold on this machine?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import ab_options, options
from bench.core.errors import ExitCode

if TYPE_CHECKING:
    from bench.runner.ab.selftest import Selftest

DEFAULT_TARGETS = ("mlp",)


def command(
    targets: Annotated[
        list[str] | None, typer.Argument(metavar="SUITE|MODEL", help="Default: mlp.", show_default=False)
    ] = None,
    batch_size: options.BatchOption = None,
    device: options.DeviceOption = None,
    input_shape: options.ShapeOption = None,
    threads: options.ThreadsOption = None,
    slowdown: Annotated[str, typer.Option(help="Injected into one side by a real busy-wait.")] = "5%",
    sessions: Annotated[int, typer.Option(min=1, help="Sessions of each screen.")] = 6,
    confirm: ab_options.ConfirmOption = 8,
    extend: ab_options.ExtendOption = 6,
    quads: Annotated[int, typer.Option(min=1, help="Quads (4 visits) per session and cell.")] = 12,
    seed: ab_options.SeedOption = None,
    void: ab_options.VoidOption = True,
    results: options.ResultsOption = Path("results"),
    quiet: ab_options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Compare unchanged code with itself, then with a slowed copy: no alarm, and the slowdown found.

    Exit code 1 if it alarmed or missed, 4 if this machine is too busy to tell.
    """
    from bench.cli.ab_output import Watcher, terminated_like_interrupted
    from bench.cli.output import print_json
    from bench.runner.ab.run import Request
    from bench.runner.ab.selftest import selftest
    from bench.runner.ab.stages import Settings, draw_seed

    share = ab_options.read_fraction(slowdown, "--slowdown")
    settings = Settings(
        sessions=sessions,
        confirm_sessions=confirm,
        extend_sessions=extend,
        quads=quads,
        seed=draw_seed() if seed is None else seed,
        judges_state=void,
    )
    axes = options.read_axes(batch_size=batch_size, device=device, input_shape=input_shape, threads=threads)
    request = Request(
        base=".", head=".", targets=tuple(targets or DEFAULT_TARGETS), axes=axes, settings=settings, results=results
    )
    with terminated_like_interrupted():
        found = selftest(request, share, Watcher(is_quiet=quiet))
    if format is options.Format.JSON:
        print_json("selftest", passed=found.is_passed, **{name: getattr(found, name) for name in found.__slots__})
    else:
        print(_text(found))
    if found.is_passed:
        return ExitCode.FINE
    return ExitCode.UNFIT if found.unfit and not found.alarms else ExitCode.REGRESSION


def _text(found: Selftest) -> str:
    """Write both figures of every cell, and whether the test passed."""
    from bench.cli.ab_output import duration
    from bench.cli.output import terminal_width
    from bench.tables.comparison import change, percent_of, reason_text
    from bench.tables.table import Page

    page = Page(width=terminal_width())
    lines = []
    for comparison in found.unchanged:
        word = "ALARM" if comparison in found.alarms else "no alarm"
        figures = f"{change(comparison.shift)} %, sees {percent_of(comparison.minimum_detectable)} %"
        lines.append(f"unchanged {comparison.cell_id}: {word}; {figures}, {comparison.verdict.value}")
    for comparison in found.injected:
        word = "MISSED" if comparison in found.missed else "found"
        added = change(found.added.get(comparison.cell_key))
        lines.append(f"injected {comparison.cell_id}: {word}; {added} % added; {reason_text(comparison)}")
    if found.unfit:
        lines.append(f"UNFIT: {found.unfit}")
    lines.append(f"selftest {'passed' if found.is_passed else 'FAILED'} in {duration(found.seconds)}")
    return "\n".join(page.wrap(line, "  ", first="") for line in lines)
