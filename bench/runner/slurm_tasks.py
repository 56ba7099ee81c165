"""Look at every task of a Slurm run: what Slurm says of it and what it wrote itself, put together."""

from __future__ import annotations

from dataclasses import dataclass

from bench.runner.slurm import Slurm, TaskStatus
from bench.runner.slurm_endings import TaskEnding, judge
from bench.runner.slurm_files import FINISHED, SlurmFiles, Submission, TaskNote, chunk_name, require_submissions
from bench.store.records import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task of a run, as it is found now.

    Attributes:
        chunk: Its name in the run's folder, `0.3`.
        job_id: Of the array; None if sbatch never answered and nothing is queued under the run's name.
        keys: Of its cells.
        status: What Slurm says; None if it does not know the task (any more).
        note: What it wrote of itself; None if it never began.
        ending: None while it is live.
        submitted_at: ISO 8601 with zone.
        output: The end of what it printed.
        last_sign: When it last printed something, in seconds of the epoch.
    """

    chunk: str
    job_id: int | None
    keys: tuple[str, ...]
    status: TaskStatus | None
    note: TaskNote | None
    ending: TaskEnding | None
    submitted_at: str
    output: str = ""
    last_sign: float | None = None

    @property
    def is_live(self) -> bool:
        """Whether it is queued or runs."""
        return self.ending is None

    @property
    def state(self) -> str:
        """Return Slurm's word for it; `FORGOTTEN` where Slurm has none, `FINISHED` if it says so itself."""
        if self.status is not None:
            return self.status.state
        return "FINISHED" if self.note is not None and self.note.ended == FINISHED else "FORGOTTEN"

    @property
    def node(self) -> str | None:
        """Return where it runs or ran."""
        return (self.status.node if self.status else None) or (self.note.host if self.note else None)


def look_at(folder: RunFolder, slurm: Slurm) -> tuple[Task, ...]:
    """Look at all tasks of all submissions, oldest first.

    Raises:
        BenchError: The run is none of Slurm, a file of it cannot be read, or the controller cannot be asked.
    """
    tasks: list[Task] = []
    for submission in require_submissions(folder):
        job_id = job_id_of(folder, submission, slurm)
        states = slurm.states(job_id, job_name(folder.run.id, submission.number)) if job_id is not None else {}
        tasks += (
            _look_at_one(SlurmFiles.of(folder), submission, index, job_id, states.get(index))
            for index in range(len(submission.chunks))
        )
    return tuple(tasks)


def job_name(run_id: str, number: int) -> str:
    """Name a submission in the queue."""
    return f"bench-{run_id}-{number}"


def job_id_of(folder: RunFolder, submission: Submission, slurm: Slurm) -> int | None:
    """Return a submission's job; one whose `bench run` was killed before it heard the id is looked for."""
    if submission.job_id is not None:
        return submission.job_id
    files = SlurmFiles.of(folder)
    notes = (files.note(chunk_name(submission.number, index)) for index in range(len(submission.chunks)))
    known = next((note.job_id for note in notes if note is not None and note.job_id is not None), None)
    return known if known is not None else slurm.find(job_name(folder.run.id, submission.number))


def _look_at_one(
    files: SlurmFiles, submission: Submission, index: int, job_id: int | None, status: TaskStatus | None
) -> Task:
    chunk = chunk_name(submission.number, index)
    note = files.note(chunk)
    output, last_sign = files.output(chunk)
    ending = None
    if status is None or not status.is_live:
        ending = judge(
            f"{job_id}_{index}" if job_id is not None else chunk,
            status=status,
            output=output,
            exit_code=files.exit_code(chunk),
            note=note,
            limit_seconds=submission.job.limit_seconds,
        )
    return Task(
        chunk=chunk,
        job_id=job_id,
        keys=submission.chunks[index],
        status=status,
        note=note,
        ending=ending,
        submitted_at=submission.submitted_at,
        output=output,
        last_sign=last_sign,
    )
