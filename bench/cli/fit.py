"""Find the largest batch that fits into a memory.

Uses predictions; nothing is allocated without --verify. With --verify, exit code 1 if the batch failed or held more
than that memory, 4 if there was not enough free memory to run it.

Examples:
    bench fit my_net --memory 24GiB
    bench fit torchvision:resnet50 -p bf16-amp --verify
"""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli import options
from bench.cli.output import answer
from bench.core.errors import ExitCode, UsageError
from bench.core.record import Outcome
from bench.core.units import parse_bytes

PANEL = "Understand a model"


@options.axes("mode", "device", "precision", "optimizer", "input_shape")
def command(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help="Models.", show_default=False)],
    memory: Annotated[
        str | None,
        typer.Option(help="Memory to fill, for example 24GiB.", show_default="90 % of what is free"),
    ] = None,
    *,
    axes: options.Axes,
    verify: Annotated[
        bool, typer.Option("--verify", help="Run a step with the batch that was found, and compare the live bytes.")
    ] = False,
    timeout: options.LimitOption = None,
    quiet: options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.cli.progress import waiting
    from bench.runner.counting import fit_cells
    from bench.tables.fit import fit_document

    cells = options.cells_of(models, axes)
    limit = options.parse_duration(timeout, "--timeout")
    with waiting(is_quiet=quiet):
        found = fit_cells(cells, _parse_memory(memory), verify=verify, timeout_seconds=limit)
    free_bytes = found.free_bytes
    answer(
        "fit",
        format,
        lambda: fit_document(found.cells, free_bytes),
        cells=found.cells,
        free_bytes=dict(free_bytes),
    )
    if any(one.is_refuted for one in found.cells):
        return ExitCode.REGRESSION
    is_unfit = any(one.verification and one.verification.outcome is Outcome.SKIPPED for one in found.cells)
    return ExitCode.UNFIT if is_unfit else ExitCode.FINE


def _parse_memory(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        size = parse_bytes(text)
    except ValueError as error:
        raise UsageError(f"--memory: {error}") from None
    if size < 1:
        raise UsageError(f"--memory must be more than nothing, found {text!r}")
    return size
