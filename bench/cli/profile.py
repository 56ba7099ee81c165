"""Show where the time of a step goes, by layer and phase.

Shows layers, operations, gaps, start-up, and what to try. Exit code 5 if no cell could be profiled.

Examples:
    bench profile my_net
    bench profile my_net --memory --try --trace trace.json.gz
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options
from bench.cli.output import answer, say
from bench.core.errors import ExitCode, UsageError
from bench.core.text import plain
from bench.suite.sweep import RUN_ONLY

if TYPE_CHECKING:
    from bench.runner.profiling import Profiled
    from bench.tables.document import Document

PANEL = "Understand a model"


@options.axes(without=RUN_ONLY)
def command(
    models: Annotated[list[str] | None, typer.Argument(help="Models.", show_default=False)] = None,
    *,
    axes: options.Axes,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps to profile.", show_default="what two seconds hold")
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Show a row for every layer, none folded.")] = False,
    memory: Annotated[bool, typer.Option("--memory", help="Also show the memory over the step, by cause.")] = False,
    trying: Annotated[bool, typer.Option("--try", help="Also measure the options that the advice names.")] = False,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a trace for Perfetto (.json or .json.gz).", show_default=False),
    ] = None,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="RUN RUN", help="Old name of `bench compare RUN RUN`.", hidden=True),
    ] = None,
    lock_clocks: options.LockClocksOption = False,
    timeout: Annotated[str | None, options.limit_option("10min, more for long steps")] = None,
    results: options.ResultsOption = options.RESULTS,
    quiet: options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    if diff is not None:
        if models:
            raise UsageError(f"--diff compares two stored runs; it takes no models, found {' '.join(models)}")
        from bench.cli.compare import command as compare

        say(f"`bench profile --diff` is now `bench compare {' '.join(diff)}`")
        return compare(*diff, results=results, format=format)
    if not models:
        raise UsageError("no model was named; write for example `bench profile my_net`, or `bench compare RUN RUN`")
    from bench.cli.progress import stoppable, waiting
    from bench.core.profile import ProfileOptions
    from bench.runner.profiling import profile_cells

    if trace is not None and not trace.absolute().parent.is_dir():
        raise UsageError(f"--trace: there is no folder {str(trace.absolute().parent)!r}")
    asked = ProfileOptions(
        steps=steps,
        is_with_memory=memory,
        is_trying=trying,
        trace=str(trace.absolute()) if trace else None,
    )
    cells = options.cells_of(models, axes)
    options.refuse_without_gpu("--lock-clocks", lock_clocks, [cell.device for cell in cells])
    with stoppable(), waiting(is_quiet=quiet):
        profiled = profile_cells(
            cells,
            asked,
            results=results,
            locks_clocks=lock_clocks,
            timeout_seconds=options.parse_duration(timeout, "--timeout"),
        )
    answer("profile", format, lambda: _document(profiled, layers), folder=str(profiled.folder), cells=profiled.cells)
    return ExitCode.FINE if any(one.profile is not None for one in profiled.cells) else ExitCode.NOTHING


def _document(profiled: Profiled, all_layers: bool) -> Document:
    from bench.tables.document import Block, Place, Text
    from bench.tables.profile import profile_document

    blocks: list[Block] = []
    for one in profiled.cells:
        if one.profile is not None:
            blocks += profile_document(one.profile, all_layers=all_layers)
        else:
            blocks.append(Text(text=f"{one.cell.id}: not profiled: {plain(one.reason or '')}"))
    return [*blocks, Place(text=f"Results: {profiled.folder} (flame graph: report.html)")]
