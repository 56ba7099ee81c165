"""Count parameters, FLOPs, operations and predicted memory.

Counts one step. Nothing is timed, and nothing is allocated unless the model needs real values.

Examples:
    bench count my_net mlp -b 8,32
    bench count torchvision:resnet50 --layers
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options
from bench.cli.output import answer, say_kept
from bench.core.errors import ExitCode
from bench.core.record import Record
from bench.suite.sweep import RUN_ONLY

if TYPE_CHECKING:
    from bench.tables.document import Document

PANEL = "Understand a model"


@options.axes(without=("device", "compile", "memory_format", "threads", *RUN_ONLY))
def command(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help="Models.", show_default=False)],
    *,
    axes: options.Axes,
    layers: Annotated[bool, typer.Option("--layers", help="Also show a row per layer.")] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Also show the counts of torch, fvcore and a closed form, and why they differ."),
    ] = False,
    flops_only: Annotated[
        bool, typer.Option("--flops-only", help="Skip operations and predicted peak: seconds for the largest models.")
    ] = False,
    recount: options.RecountOption = False,
    timeout: options.LimitOption = None,
    quiet: options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.cli.progress import waiting
    from bench.runner.counting import count_cells, require_counted
    from bench.store.kept import KeptCounts

    limit = options.parse_duration(timeout, "--timeout")
    cells = options.cells_of(models, axes)
    kept = None if recount else KeptCounts()
    with waiting(is_quiet=quiet):
        records = count_cells(cells, steps=not flops_only, timeout_seconds=limit, kept=kept)
    require_counted(records)
    answer("count", format, lambda: _document(records, layers=layers, explain=explain), records=records)
    say_kept(kept, len(records))
    return ExitCode.FINE


def _document(records: Sequence[Record], *, layers: bool, explain: bool) -> Document:
    from bench.tables.document import Heading
    from bench.tables.parts import counts_document, layers_document, opinions_document

    blocks = [*counts_document(records)]
    for record in records:
        if layers:
            rows, *rest = layers_document(record)
            blocks += [Heading(text=record.cell.id, level=3), replace(rows, close=True), *rest]
        blocks += opinions_document(record) if explain else ()
    return blocks
