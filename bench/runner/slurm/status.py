"""Look at every task of a Slurm run: what Slurm says of it and what it wrote itself, put together.

How a task of a Slurm run ended, and what that means for its cells: pure functions over what was found.

The witnesses, best first: Slurm's state; what Slurm's daemon wrote into the task's output (it names the time limit,
preemption, memory); the exit code that the script left; the task's own note. The controller forgets a job after minutes
(`MinJobAge`), and accounting is often off: the files in the run's folder are then all there is.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.core.record import Outcome
from bench.runner.endings import signal_name
from bench.runner.slurm.commands import Slurm, TaskStatus
from bench.runner.slurm.files import (
    FINISHED,
    OUT_OF_TIME,
    TOO_LATE,
    SlurmFiles,
    Submission,
    TaskNote,
    chunk_name,
    require_submissions,
)
from bench.store.runs import RunFolder

_SPOKEN = (
    # Lines of slurmstepd, in the order they are to be believed: a job that takes too much memory is "CANCELLED" too.
    (re.compile(r"exceeded .*memory limit|exceeded job memory|oom[-_ ]?kill|out of memory", re.I), "OUT_OF_MEMORY"),
    (re.compile(r"DUE TO TIME LIMIT"), "TIMEOUT"),
    (re.compile(r"DUE TO PREEMPTION"), "PREEMPTED"),
    (re.compile(r"DUE TO NODE FAILURE"), "NODE_FAIL"),
    (re.compile(r"CANCELLED AT"), "CANCELLED"),
)
_VAGUE = frozenset(("FAILED", "CANCELLED", "COMPLETED", "UNKNOWN"))
"""States beside which the daemon's words may know more: without cgroups a job killed for its memory is only FAILED."""

_CLUSTERS_DOING = {
    "PREEMPTED": "was preempted by another job",
    "CANCELLED": "was cancelled",
    "NODE_FAIL": "lost its node",
    "BOOT_FAIL": "lost its node, which did not boot",
    "DEADLINE": "ran into its deadline",
    "REVOKED": "was taken back by the cluster",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnding:
    """How a task that is over ended.

    Attributes:
        outcome: Outcome of the cell it was at.
        reason: One line, about the task: `Slurm task 8_3 on n1 was preempted by another job`.
        is_final: The cell itself is to blame: its ending is put on record and a resume does not try it again.
    """

    outcome: Outcome
    reason: str
    is_final: bool


def judge(
    task: str,
    *,
    status: TaskStatus | None,
    output: str,
    exit_code: int | None,
    note: TaskNote | None,
    limit_seconds: int,
) -> TaskEnding:
    """Return how a task ended, by what `Task` says of it and the exit code that its script left; `task` is `8_3`."""
    state = _state(status, output, note, limit_seconds)
    node = (status.node if status else None) or (note.host if note else None)
    who = f"Slurm task {task}{f' on {node}' if node else ''}"
    if note is not None and note.problem is not None:
        return TaskEnding(outcome=Outcome.FAILED, reason=f"{who}: {note.problem}", is_final=False)
    if note is not None and note.ended == OUT_OF_TIME:
        reason = f"{who} stopped: too little of its {limit_seconds // 60} min was left for another cell"
        return TaskEnding(outcome=Outcome.SKIPPED, reason=reason, is_final=False)
    if note is not None and note.ended == TOO_LATE:
        reason = f"{who} stopped: it was past the time that --until named"
        return TaskEnding(outcome=Outcome.SKIPPED, reason=reason, is_final=False)
    if exit_code == 0 or (note is not None and note.ended == FINISHED):
        # Said first: a network file system may show an old note, and a good cell must not be called dead.
        reason = f"{who} finished, but this record is not (yet) to be seen here"
        return TaskEnding(outcome=Outcome.SKIPPED, reason=reason, is_final=False)
    if state in _CLUSTERS_DOING:
        return TaskEnding(outcome=Outcome.KILLED, reason=f"{who} {_CLUSTERS_DOING[state]}", is_final=False)
    if state == "OUT_OF_MEMORY":
        reason = f"{who} took more memory than the job may have"
        return TaskEnding(outcome=Outcome.OUT_OF_MEMORY, reason=reason, is_final=True)
    if state == "TIMEOUT":
        begun = note.begun if note else 0
        after = f", {begun} other cells before this one" if begun else ""
        reason = f"{who} ran into its time limit of {limit_seconds // 60} min{after}"
        # A cell that had only what others left of the time gets a task's whole time once more.
        return TaskEnding(outcome=Outcome.TIMED_OUT, reason=reason, is_final=begun == 0)
    code = exit_code if exit_code is not None else (status.exit_code if status else None)
    if code:
        return _by_exit_code(who, code, output, has_begun=note is not None and note.running is not None)
    reason = f"{who} ended without a word"
    if status is None:
        reason += "; Slurm no longer knows why (it forgets after minutes, and has no accounting)"
    # Only Slurm or the kernel kills the script's shell too; whether the cell is to blame is not known.
    return TaskEnding(outcome=Outcome.KILLED, reason=reason, is_final=False)


def _state(status: TaskStatus | None, output: str, note: TaskNote | None, limit_seconds: int) -> str:
    state = status.state if status else "UNKNOWN"
    if state not in _VAGUE:
        return state
    said = "\n".join(line for line in output.splitlines() if line.startswith("slurmstepd"))
    spoken = next((name for pattern, name in _SPOKEN if pattern.search(said)), None)
    if spoken is not None:
        return spoken
    if state == "UNKNOWN" and note is not None and note.ended == signal.SIGTERM.name:
        # Slurm announces its SIGKILL so; why, only the clock can tell.
        is_over = (note.ended_after_seconds or 0.0) >= limit_seconds
        return "TIMEOUT" if is_over else "CANCELLED"
    return state


def _by_exit_code(who: str, code: int, output: str, *, has_begun: bool) -> TaskEnding:
    last = output.splitlines()[-1].strip() if output else ""
    said = f": {last}" if last else ""
    if not has_begun:
        reason = f"{who} failed before its first cell, exit code {code}{said}"
        return TaskEnding(outcome=Outcome.FAILED, reason=reason, is_final=False)
    if code > 128:
        hint = "; the kernel kills so when memory runs out" if code - 128 == signal.SIGKILL else ""
        reason = f"{who} was killed by {signal_name(code - 128)}{hint}"
        return TaskEnding(outcome=Outcome.KILLED, reason=reason, is_final=True)
    return TaskEnding(outcome=Outcome.FAILED, reason=f"{who} failed, exit code {code}{said}", is_final=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task of a run, as it is found now.

    Attributes:
        chunk: Its name in the run's folder, `0.3`.
        job_id: Id of the array; None if sbatch never answered and nothing is queued under the run's name.
        keys: Keys of its cells.
        status: What Slurm says; None if it does not know the task (any more).
        note: What it wrote of itself; None if it never began.
        ending: None while it is live.
        submitted_at: ISO 8601 with zone.
        output: The end of what it printed.
        last_sign: When it last printed something, in seconds of the epoch.
        superseded: Digests of the records that it replaces, by the keys of their cells.
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
    superseded: Mapping[str, str] = field(default_factory=dict)

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
        BenchError: The run was not submitted to Slurm, a file of it cannot be read, or the controller cannot be asked.
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
        superseded=dict(submission.superseded),
    )
