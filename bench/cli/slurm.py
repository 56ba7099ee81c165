"""Follow, collect or cancel a run on Slurm.

`bench run --executor slurm` submits one.

Examples:
    bench slurm status latest
    bench slurm collect latest
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options
from bench.cli.output import answer, make_group, say
from bench.core.errors import ExitCode, UsageError
from bench.core.record import Outcome
from bench.core.units import counted

if TYPE_CHECKING:
    from bench.runner.session import Session
    from bench.runner.slurm.collect import Collected, Status
    from bench.runner.slurm.run import Submitted
    from bench.tables.document import Document

PANEL = "This machine"

app = make_group()

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Id of the run, a beginning of it, its folder, or latest.")
]


@app.command("status")
def status_command(
    run: RunArgument,
    results: options.ResultsOption = options.RESULTS,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Show how far a run is: its tasks, and the cells they are at.

    Waits for nothing and changes nothing.
    """
    from bench.runner.slurm.collect import read_status
    from bench.store.runs import RunFolder

    status = read_status(RunFolder.open(run, results))
    answer("slurm status", format, lambda: _status_text(status), status=status)
    return ExitCode.FINE


def _status_text(status: Status) -> str:
    counts = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in status.outcomes)
    lines = [
        f"Run {status.run}: {status.cells - status.missing} of {status.cells} cells have a record"
        + (f" ({counts})" if counts else "")
    ]
    rows = [("TASK", "SLURM", "STATE", "NODE", "CELLS", "AT")]
    rows += [
        (row.task, row.slurm_id or "-", row.state, row.node or "-", f"{row.done}/{row.cells}", row.running or "")
        for row in status.tasks
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines += [
        "  ".join((*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[5])).rstrip()
        for row in rows
    ]
    if status.waiting:
        lines.append(f"{status.waiting} cells are queued or running.")
    if left := status.missing - status.waiting:
        lines.append(f"{left} cells have no record and no task: `bench slurm collect` says why,")
        lines.append("`bench run --resume` submits them.")
    return "\n".join(lines)


@app.command("collect")
def collect_command(
    run: RunArgument,
    results: options.ResultsOption = options.RESULTS,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Write tables of what is measured so far.

    Every lost cell becomes a row with its reason. Does not wait; may be repeated. Exit code 5 if no cell is measured
    yet.
    """
    from bench.runner.slurm.collect import collect
    from bench.stats.rank_scaling import rank_scalings
    from bench.store.runs import RunFolder

    found = collect(RunFolder.open(run, results))
    for problem in found.problems:
        say(problem)
    answer(
        "slurm collect",
        format,
        lambda: _collected(found),
        folder=str(found.folder.path),
        records=found.records,
        claims=found.claims,
        unmeasured=found.unmeasured,
        waiting=found.waiting,
        problems=[str(problem) for problem in found.problems],
        ranks=rank_scalings(found.records),
    )
    has_result = any(record.outcome is Outcome.OK for record in found.records)
    return ExitCode.FINE if has_result else ExitCode.NOTHING


def _collected(found: Collected) -> Document:
    from bench.tables.claims import claims_document
    from bench.tables.document import Place
    from bench.tables.run import cells_document
    from bench.tables.scaling import ranks_document

    left = [f"{found.waiting} cells are still queued or running; collect again later."] if found.waiting else []
    if found.unmeasured:
        again = f"bench run --resume {found.folder.run.id} --executor slurm"
        left.append(f"{found.unmeasured} cells were not measured, through no fault of their own; submit them: {again}")
    return [
        *cells_document(found.records),
        *ranks_document(found.records),
        *(claims_document(found.claims) if found.claims else ()),
        *(Place(text=text, close=True) for text in (*left, f"Results: {found.folder.path}")),
    ]


@app.command("cancel")
def cancel_command(
    run: RunArgument,
    results: options.ResultsOption = options.RESULTS,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Cancel the queued and running tasks of a run.

    What is measured stays.
    """
    from bench.runner.slurm.run import cancel
    from bench.store.runs import RunFolder

    folder = RunFolder.open(run, results)
    count = cancel(folder)
    words = (
        f"Run {folder.run.id}: {counted(count, 'task')} cancelled"
        if count
        else f"Run {folder.run.id}: nothing to cancel"
    )
    answer("slurm cancel", format, lambda: words, run=folder.run.id, cancelled_tasks=count)
    return ExitCode.FINE


PartitionOption = Annotated[str | None, typer.Option("--partition", help="Slurm: partition.", show_default=False)]
GpusOption = Annotated[
    str | None, typer.Option("--gpus", help="Slurm: GPUs of a task, for example h100:1.", show_default=False)
]
TimeOption = Annotated[
    str | None, typer.Option("--time", help="Slurm: limit of a task, which measures several cells.", show_default="20m")
]
MaxParallelOption = Annotated[
    int | None, typer.Option("--max-parallel", min=1, help="Slurm: most tasks at once.", show_default=False)
]
ExclusiveOption = Annotated[
    bool,
    typer.Option(
        "--exclusive",
        help="Nobody else: on Slurm no other job on the node, here a quiet host and CPUs near the GPU only.",
    ),
]
SetupOption = Annotated[
    list[str] | None, typer.Option("--setup", help="Slurm: a line of shell before the measuring; repeat.")
]
ExtraOption = Annotated[
    list[str] | None, typer.Option("--extra-sbatch", help="Slurm: a further option of sbatch, as typed there; repeat.")
]
CellsPerTaskOption = Annotated[
    int | None,
    typer.Option(
        "--cells-per-task", min=1, help="Slurm: at most so many cells per task.", show_default="minutes' worth"
    ),
]


def typed_job(
    *,
    partition: str | None,
    gpus: str | None,
    time: str | None,
    max_parallel: int | None,
    exclusive: bool,
    setup: list[str] | None,
    extra_sbatch: list[str] | None,
) -> dict[str, Any]:
    """Return the fields of `JobOptions` that were typed.

    Raises:
        UsageError: A value makes no sense.
    """
    typed = {
        "partition": partition,
        "gpus": gpus,
        "time_seconds": options.parse_duration(time, "--time"),
        "max_parallel": max_parallel,
        "exclusive": exclusive or None,
        "setup": tuple(setup) if setup else None,
        "extra_sbatch": tuple(extra_sbatch) if extra_sbatch else None,
    }
    for field, option in (
        ("partition", "--partition"),
        ("gpus", "--gpus"),
        ("setup", "--setup"),
        ("extra_sbatch", "--extra-sbatch"),
    ):
        values = typed[field]
        for value in (values,) if isinstance(values, str) else values or ():  # type: ignore[union-attr]
            if not value.strip() or "\n" in value:
                raise UsageError(f"{option} must be one line that is not empty, found {value!r}")
    return {name: value for name, value in typed.items() if value is not None}


def refuse_without_slurm(typed: dict[str, Any], cells_per_task: int | None, resume: str | None, results: Path) -> None:
    """Refuse what only makes sense on a cluster where none was asked for.

    Raises:
        UsageError: An option of a cluster was typed, or the run to be resumed was submitted to one: this machine's
            environment is another, so it would measure everything again.
        StoreError: There is no such run.
    """
    names = [name.replace("_seconds", "").replace("_", "-") for name in typed]
    names += ["cells-per-task"] if cells_per_task is not None else []
    if names:
        raise UsageError(f"--{names[0]} is for a cluster; add --executor slurm, or leave it out")
    if resume is not None:
        from bench.store.runs import RunFolder

        folder = RunFolder.open(resume, results)
        if (folder.path / "slurm").is_dir():
            raise UsageError(f"{folder.run.id} was submitted to Slurm; add --executor slurm to submit what it lacks")


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
    is_cold: bool,
    cells_per_task: int | None,
    is_dry: bool,
    retried: Collection[Outcome],
    format: options.Format,  # noqa: A002 - the name of the option
) -> int:
    """Submit to Slurm and leave; say what the run is called and how to follow it.

    Args:
        session: What to measure.
        typed: Fields of `JobOptions`; what was not typed is, when resuming, as the last time.
        results: Folder that holds the runs; every node must see it.
        resume: Submit what this run lacks instead.
        refused: What was typed beside `resume` but would change the run.
        timeout_seconds: Timeout of each process of a cell.
        is_predicting: Skip cells whose predicted peak exceeds the free memory of their node.
        is_metering: Measure the energy of a step too.
        is_cold: Measure cold starts too.
        cells_per_task: Cells per task, as for `pack`.
        is_dry: Print the script and stop.
        retried: With `resume`, submit again what ended like this.
        format: How to answer.
    """
    from bench.runner.slurm.files import require_submissions
    from bench.runner.slurm.run import preview, submit, submit_missing
    from bench.runner.slurm.script import JobOptions
    from bench.store.runs import RunFolder

    if refused:
        raise UsageError(f"--resume on Slurm measures the run as it was asked for; leave out {', '.join(refused)}")
    if is_dry:
        script = preview(session, JobOptions(**typed), results=results, cells_per_task=cells_per_task)
        words = f"{script}# {counted(len(session.cells), 'cell')}; nothing was submitted (--dry-run)"
        answer("run", format, lambda: words, cells=session.cells, script=script)
        return ExitCode.FINE
    passed: dict[str, Any] = {"timeout_seconds": timeout_seconds, "cells_per_task": cells_per_task}
    if resume is None:
        passes: dict[str, Any] = {"is_predicting": is_predicting, "is_metering": is_metering, "is_cold": is_cold}
        submitted = submit(session, JobOptions(**typed), results=results, **passes, **passed)
    else:
        folder = RunFolder.open(resume, results)
        job = replace(require_submissions(folder)[-1].job, **typed)
        submitted = submit_missing(folder, job=job, retried=retried, **passed)
    answer(
        "run",
        format,
        lambda: _submitted_text(submitted),
        folder=str(submitted.folder),
        run=submitted.folder.name,
        slurm_job=submitted.job_id,
        slurm_jobs=submitted.job_ids,
        tasks=submitted.tasks,
        cells=submitted.cells,
    )
    return ExitCode.FINE


def _submitted_text(submitted: Submitted) -> str:
    run = submitted.folder.name
    if submitted.job_id is None:
        return f"Run {run} lacks nothing that is not queued or running already; nothing was submitted."
    root = submitted.folder.parent
    where = "" if root == options.RESULTS else f" --results {root}"
    jobs = [str(job) for job in submitted.job_ids]
    cells, tasks = counted(submitted.cells, "cell"), counted(submitted.tasks, "task")
    follow = (
        (f"bench slurm status {run}{where}", "how far it is"),
        (f"bench slurm collect {run}{where}", "tables of what is there"),
        (f"bench slurm cancel {run}{where}", "stop it; what is measured stays"),
        (f"bench run --resume {run} --executor slurm{where}", "submit what is missing"),
    )
    return "\n".join(
        [
            f"Run {run}: {cells} in {tasks}, Slurm {counted(len(jobs), 'job').partition(' ')[2]} {', '.join(jobs)}",
            f"Every node must see {submitted.folder.resolve()}",
            *(f"  {command}  # {purpose}" for command, purpose in follow),
        ]
    )
