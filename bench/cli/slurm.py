"""Follow, collect or cancel a run on Slurm.

`bench run --executor slurm` submits one.

Examples:
    bench slurm status latest
    bench slurm collect latest
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options
from bench.cli.output import answer, make_group, say
from bench.core.errors import ExitCode, UsageError
from bench.core.record import Outcome
from bench.core.units import counted, format_clock

if TYPE_CHECKING:
    from bench.runner.scenarios import Asked, Kind
    from bench.runner.session import Limits, Session
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
    from bench.cli.progress import waiting
    from bench.runner.slurm.collect import read_status
    from bench.store.runs import RunFolder

    with waiting("asking Slurm, and reading the run"):
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
        lines.append(f"{counted(status.waiting, 'cell')} queued or running.")
    if ends := [row.expected_end for row in status.tasks if row.expected_end is not None]:
        last = format_clock(max(map(datetime.fromisoformat, ends)))
        lines.append(f"expected end of the running tasks: about {last}, if their cells take as long as those before")
    if left := status.missing - status.waiting:
        lines.append(f"{counted(left, 'cell')} without a record and a task: `bench slurm collect` says why,")
        lines.append(f"`bench {status.command} --resume` submits them.")
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
    from bench.cli.progress import waiting
    from bench.runner.slurm.collect import collect
    from bench.stats.rank_scaling import rank_scalings
    from bench.store.runs import RunFolder
    from bench.tables.catalog import figures_of

    with waiting("reading the run and writing tables"):
        found = collect(RunFolder.open(run, results))
    for problem in found.problems:
        say(problem)
    answer(
        "slurm collect",
        format,
        lambda: _collected(found),
        folder=str(found.work.folder.path),
        records=found.records,
        figures=figures_of(found.work.field, found.results) if format is options.Format.JSON else (),
        **({found.work.field: found.results} if found.work.kind else {}),
        claims=found.claims,
        unmeasured=found.unmeasured,
        waiting=found.waiting,
        problems=[str(problem) for problem in found.problems],
        ranks=rank_scalings(found.records),
    )
    has_result = any(result.outcome is Outcome.OK for result in found.results)
    return ExitCode.FINE if has_result else ExitCode.NOTHING


def _collected(found: Collected) -> Document:
    from bench.tables.claims import claims_document
    from bench.tables.document import Notes, Place
    from bench.tables.run import cells_document, cold_notes
    from bench.tables.scaling import ranks_document
    from bench.tables.scenarios import cases_document

    left = [f"{counted(found.waiting, 'cell')} still queued or running; collect again later."] if found.waiting else []
    if found.unmeasured:
        again = f"bench {found.work.command} --resume {found.work.folder.run.id} --executor slurm"
        left.append(
            f"{counted(found.unmeasured, 'cell')} not measured, through no fault of the cell; to submit: {again}"
        )
    return [
        *(cases_document(found.work.field, found.results) if found.work.kind else cells_document(found.records)),
        Notes(lines=cold_notes(found.records)),
        *ranks_document(found.records),
        *(claims_document(found.claims) if found.claims else ()),
        *(Place(text=text, close=True) for text in (*left, f"Results: {found.work.folder.path}")),
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
    words = f"{counted(count, 'task')} cancelled" if count else "nothing to cancel"
    answer("slurm cancel", format, lambda: f"Run {folder.run.id}: {words}", run=folder.run.id, cancelled_tasks=count)
    return ExitCode.FINE


def _line(option: str, words: str, metavar: str | None = None) -> Any:
    return Annotated[str | None, typer.Option(option, metavar=metavar, help=f"Slurm: {words}", show_default=False)]


def _lines(option: str, words: str) -> Any:
    return Annotated[list[str] | None, typer.Option(option, help=f"Slurm: {words}; repeat.")]


_JOB = {
    "partition": (_line("--partition", "partition."), None),
    "gpus": (_line("--gpus", "GPUs of a task, for example h100:1."), None),
    "time": (
        Annotated[
            str | None,
            typer.Option("--time", help="Slurm: limit of a task, which measures several cells.", show_default="20m"),
        ],
        None,
    ),
    "max_parallel": (
        Annotated[
            int | None, typer.Option("--max-parallel", min=1, help="Slurm: most tasks at once.", show_default=False)
        ],
        None,
    ),
    "exclusive": (
        Annotated[
            bool,
            typer.Option(
                "--exclusive",
                help="Slurm: no other job on the node. `bench run` here: refuse a busy host, use CPUs near the GPU.",
            ),
        ],
        False,
    ),
    "setup": (_lines("--setup", "a line of shell before the measuring"), None),
    "extra_sbatch": (_lines("--extra-sbatch", "a further option of sbatch, as typed there"), None),
    "cells_per_task": (
        Annotated[
            int | None,
            typer.Option("--cells-per-task", min=1, help="Slurm: most cells per task.", show_default="minutes' worth"),
        ],
        None,
    ),
}
"""Options of a command that can submit its work to a cluster."""

Job = Mapping[str, Any]
"""Those that were typed: fields of `JobOptions`, and `cells_per_task`."""


def _read_job(typed: Mapping[str, Any]) -> Job:
    for field in ("partition", "gpus", "setup", "extra_sbatch"):
        values = typed[field]
        for value in (values,) if isinstance(values, str) else values or ():
            if not value.strip() or "\n" in value:
                option = field.replace("_", "-")
                raise UsageError(f"--{option} must be one line that is not empty, found {value!r}")
    given = {name: value for name, value in typed.items() if value not in (None, False, [])}
    job: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    if "time" in job:
        job["time_seconds"] = options.parse_duration(job.pop("time"), "--time")
    return job


job_options = options.in_place_of("job", _JOB, _read_job)
"""Replace a command's parameter `job` (`Job`) by the options of a cluster."""


def refuse_without_slurm(job: Job, resume: str | None, results: Path) -> None:
    """Refuse options of a cluster unless one was asked for.

    Raises:
        UsageError: An option of a cluster was typed, or the run to be resumed was submitted to one: this machine's
            environment is another, so it would measure everything again.
        StoreError: There is no such run.
    """
    for name in job:
        option = name.replace("_seconds", "").replace("_", "-")
        raise UsageError(f"--{option} is for a cluster; add --executor slurm, or leave it out")
    if resume is not None:
        from bench.store.runs import RunFolder

        folder = RunFolder.open(resume, results)
        if (folder.path / "slurm").is_dir():
            raise UsageError(f"{folder.run.id} was submitted to Slurm; add --executor slurm to submit what it lacks")


def submit_cases_of(
    kind: Kind,
    asked: Asked,
    job: Job,
    *,
    results: Path,
    format: options.Format,  # noqa: A002 - the name of the option
) -> int:
    """Submit the cases of `bench generate` or `bench images`, or those that their run lacks, without waiting.

    Raises:
        UsageError: No job can be made of what was typed.
    """
    from bench.runner.slurm.files import require_submissions
    from bench.runner.slurm.run import submit_cases, submit_missing
    from bench.runner.slurm.script import JobOptions

    typed = dict(job)
    cells_per_task = typed.pop("cells_per_task", None)
    if asked.folder is None:
        submitted = submit_cases(kind, asked, JobOptions(**typed), results=results, cells_per_task=cells_per_task)
    else:
        last = replace(require_submissions(asked.folder)[-1].job, **typed)
        # As here: whatever ended badly is tried again.
        bad = [outcome for outcome in Outcome if outcome not in (Outcome.OK, Outcome.SKIPPED)]
        submitted = submit_missing(asked.folder, job=last, retried=bad, cells_per_task=cells_per_task)
    return _answer_submitted(kind.command, submitted, format)


def run_on_slurm(
    session: Session,
    job: Job,
    *,
    results: Path,
    resume: str | None,
    refused: list[str],
    timeout_seconds: float | None,
    is_predicting: bool,
    is_metering: bool,
    is_cold: bool,
    is_dry: bool,
    retried: Collection[Outcome],
    limits: Limits,
    format: options.Format,  # noqa: A002 - the name of the option
) -> int:
    """Submit a session, or what the run `resume` lacks, without waiting; print its name and how to follow it.

    Of `job`, what was not typed is that of the last submission when resuming; every node must see `results`.
    """
    from bench.cli.progress import waiting
    from bench.runner.slurm.files import require_submissions
    from bench.runner.slurm.run import preview, submit, submit_missing
    from bench.runner.slurm.script import JobOptions
    from bench.store.runs import RunFolder

    typed = dict(job)
    cells_per_task = typed.pop("cells_per_task", None)
    if refused and resume is not None:
        raise UsageError(f"--resume on Slurm measures the run as it was asked for; leave out {', '.join(refused)}")
    if is_dry:
        session = replace(session, planned=session.cells[: limits.max_cells])
        with waiting("checking"):
            script = preview(session, JobOptions(**typed), results=results, cells_per_task=cells_per_task)
        words = f"{script}# {counted(len(session.cells), 'cell')}; nothing was submitted (--dry-run)"
        answer("run", format, lambda: words, cells=session.cells, script=script)
        return ExitCode.FINE
    passed: dict[str, Any] = {"timeout_seconds": timeout_seconds, "cells_per_task": cells_per_task, "limits": limits}
    if resume is None:
        passes: dict[str, Any] = {"is_predicting": is_predicting, "is_metering": is_metering, "is_cold": is_cold}
        with waiting("submitting"):
            submitted = submit(session, JobOptions(**typed), results=results, **passes, **passed)
    else:
        folder = RunFolder.open(resume, results)
        last = replace(require_submissions(folder)[-1].job, **typed)
        with waiting("submitting"):
            submitted = submit_missing(folder, job=last, retried=retried, **passed)
    return _answer_submitted("run", submitted, format)


def _answer_submitted(command: str, submitted: Submitted, format: options.Format) -> int:  # noqa: A002 - as above
    answer(
        command,
        format,
        lambda: _submitted_text(command, submitted),
        folder=str(submitted.folder),
        run=submitted.folder.name,
        slurm_job=submitted.job_id,
        slurm_jobs=submitted.job_ids,
        tasks=submitted.tasks,
        cells=submitted.cells,
    )
    return ExitCode.FINE


def _submitted_text(command: str, submitted: Submitted) -> str:
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
        (f"bench {command} --resume {run} --executor slurm{where}", "submit what is missing"),
    )
    return "\n".join(
        [
            f"Run {run}: {cells} in {tasks}, Slurm {counted(len(jobs), 'job').partition(' ')[2]} {', '.join(jobs)}",
            f"Every node must see {submitted.folder.resolve()}",
            *(f"  {command}  # {purpose}" for command, purpose in follow),
        ]
    )
