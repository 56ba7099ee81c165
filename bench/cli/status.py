"""`bench status`: how far a run on Slurm is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options
from bench.cli.output import print_json
from bench.core.errors import ExitCode

RunArgument = Annotated[str, typer.Argument(help="Id of the run, a beginning of it, its folder, or latest.")]


def command(
    run: RunArgument,
    results: options.ResultsOption = Path("results"),
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Say how far a run on Slurm is: its tasks, and the cells they are at.

    Waits for nothing and changes nothing.
    """
    from bench.runner.slurm.collect import Status, read_status
    from bench.store.runs import RunFolder

    def print_status(status: Status) -> None:
        counts = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in status.outcomes)
        print(f"Run {status.run}: {status.cells - status.missing} of {status.cells} cells have a record", end="")
        print(f" ({counts})" if counts else "")
        rows = [("TASK", "SLURM", "STATE", "NODE", "CELLS", "AT")]
        rows += [
            (row.task, row.slurm_id or "-", row.state, row.node or "-", f"{row.done}/{row.cells}", row.running or "")
            for row in status.tasks
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        for row in rows:
            print("  ".join((*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[5])).rstrip())
        left = status.missing - status.waiting
        if status.waiting:
            print(f"{status.waiting} cells are queued or running.")
        if left:
            print(f"{left} cells have no record and no task: bench collect says why, bench run --resume submits them.")

    status = read_status(RunFolder.open(run, results))
    if format is options.Format.JSON:
        print_json("status", status=status)
    else:
        print_status(status)
    return ExitCode.FINE
