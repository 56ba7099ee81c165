"""`bench cancel`: stop a run on Slurm."""

from __future__ import annotations

from pathlib import Path

from bench.cli import options
from bench.cli.output import print_json
from bench.cli.status import RunArgument
from bench.core.errors import ExitCode


def command(
    run: RunArgument,
    results: options.ResultsOption = Path("results"),
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Cancel the queued and running tasks of a run on Slurm; what is measured stays."""
    from bench.runner.slurm.run import cancel
    from bench.store.runs import RunFolder

    folder = RunFolder.open(run, results)
    count = cancel(folder)
    if format is options.Format.JSON:
        print_json("cancel", run=folder.run.id, cancelled_tasks=count)
    else:
        print(f"Run {folder.run.id}: {count} tasks cancelled" if count else f"Run {folder.run.id}: nothing to cancel")
    return ExitCode.FINE
