"""What `bench run --executor slurm` does and prints: submit and leave, or show the script."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.cli.options import Format
from bench.cli.output import print_json
from bench.core.errors import ExitCode, SuiteError
from bench.core.units import counted
from bench.runner.session import Session
from bench.runner.slurm.files import require_submissions
from bench.runner.slurm.run import Submitted, preview, submit, submit_missing
from bench.runner.slurm.script import JobOptions
from bench.store.runs import RunFolder


def run_on_slurm(
    session: Session,
    typed: dict[str, Any],
    *,
    results: Path,
    resume: str | None,
    refused: list[str],
    timeout_seconds: float | None,
    is_predicting: bool,
    is_metering: bool,
    cells_per_task: int | None,
    is_dry: bool,
    format: Format,  # noqa: A002 - the name of the option
) -> int:
    """Submit to Slurm and leave; say what the run is called and how to follow it.

    Args:
        session: What to measure.
        typed: Fields of `JobOptions`; what was not typed is, when resuming, as the last time.
        results: Folder that holds the runs; every node must see it.
        resume: Submit what this run lacks instead.
        refused: What was typed beside `resume` but would change the run.
        timeout_seconds: Of each process of a cell.
        is_predicting: Skip cells whose predicted peak exceeds the free memory of their node.
        is_metering: Measure the energy of a step too.
        cells_per_task: As in `pack`.
        is_dry: Print the script and stop.
        format: How to answer.
    """
    if refused:
        raise SuiteError(f"--resume on Slurm measures the run as it was asked for; leave out {', '.join(refused)}")
    if is_dry:
        script = preview(session, JobOptions(**typed), results=results, cells_per_task=cells_per_task)
        if format is Format.JSON:
            print_json("run", cells=session.cells, script=script)
        else:
            print(f"{script}# {counted(len(session.cells), 'cell')}; nothing was submitted (--dry-run)")
        return ExitCode.FINE
    options: dict[str, Any] = {"timeout_seconds": timeout_seconds, "cells_per_task": cells_per_task}
    if resume is None:
        passes: dict[str, Any] = {"is_predicting": is_predicting, "is_metering": is_metering}
        submitted = submit(session, JobOptions(**typed), results=results, **passes, **options)
    else:
        folder = RunFolder.open(resume, results)
        job = replace(require_submissions(folder)[-1].job, **typed)
        submitted = submit_missing(folder, job=job, **options)
    _say(submitted, format)
    return ExitCode.FINE


def _say(submitted: Submitted, format: Format) -> None:  # noqa: A002
    run = submitted.folder.name
    if format is Format.JSON:
        print_json(
            "run",
            folder=str(submitted.folder),
            run=run,
            slurm_job=submitted.job_id,
            tasks=submitted.tasks,
            cells=submitted.cells,
        )
        return
    if submitted.job_id is None:
        print(f"Run {run} lacks nothing that is not queued or running already; nothing was submitted.")
        return
    root = submitted.folder.parent
    where = "" if root == Path("results") else f" --results {root}"
    cells, tasks = counted(submitted.cells, "cell"), counted(submitted.tasks, "task")
    print(f"Run {run}: {cells} in {tasks}, Slurm job {submitted.job_id}")
    print(f"Every node must see {submitted.folder.resolve()}")
    for command, purpose in (
        (f"bench status {run}{where}", "how far it is"),
        (f"bench collect {run}{where}", "tables of what is there"),
        (f"bench cancel {run}{where}", "stop it; what is measured stays"),
        (f"bench run --resume {run} --executor slurm{where}", "submit what is missing"),
    ):
        print(f"  {command}  # {purpose}")
