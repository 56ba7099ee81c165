"""`bench collect`: tables of what a run on Slurm has measured so far."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.cli import options
from bench.cli.output import look, print_json
from bench.cli.status import RunArgument
from bench.core.errors import ExitCode
from bench.core.record import Outcome


def command(
    run: RunArgument,
    results: options.ResultsOption = Path("results"),
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Turn what a run on Slurm has measured so far into tables, and every lost cell into a row with its reason.

    Does not wait; may be repeated. Exit code 5 if no cell is measured yet.
    """
    from bench.report.formats.terminal import cells_table, claims_table
    from bench.runner.slurm.collect import collect
    from bench.stats.rank_scaling import rank_scalings
    from bench.store.runs import RunFolder
    from bench.tables.scaling import ranks_table

    found = collect(RunFolder.open(run, results))
    for problem in found.problems:
        print(f"bench: {problem}", file=sys.stderr)
    if format is options.Format.JSON:
        print_json(
            "collect",
            folder=str(found.folder.path),
            records=found.records,
            claims=found.claims,
            unmeasured=found.unmeasured,
            waiting=found.waiting,
            problems=[str(problem) for problem in found.problems],
            ranks=rank_scalings(found.records),
        )
    else:
        print(cells_table(found.records, **look()))
        if several := ranks_table(found.records, **look()):
            print(f"\n{several}")
        if found.claims:
            print()
            print(claims_table(found.claims, **look()))
        if found.waiting:
            print(f"{found.waiting} cells are still queued or running; collect again later.")
        if found.unmeasured:
            again = f"bench run --resume {found.folder.run.id} --executor slurm"
            print(f"{found.unmeasured} cells were not measured, through no fault of their own; submit them: {again}")
        print(f"Results: {found.folder.path}")
    has_result = any(record.outcome is Outcome.OK for record in found.records)
    return ExitCode.FINE if has_result else ExitCode.NOTHING
