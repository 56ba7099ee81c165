"""What a Slurm run keeps beside its records, so that it can be followed without a process that waits for it.

results/<run-id>/slurm/
├── 0.json       Submission: its job, and which cells each task of the array measures
├── 0.sh         the batch script
├── 0.3.json     TaskNote of task 3: where it runs, and the cell it is at; written before each cell
├── 0.3.out      what the task and Slurm's own daemon said
└── 0.3.exit     exit code of the task, written by the script around it
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.core.environment import Environment
from bench.core.errors import BenchError
from bench.core.record import SCHEMA, Outcome, Sampling
from bench.registry.code import code_hash
from bench.runner.slurm.script import JobOptions
from bench.runner.slurm.work import Item, Work, cell_of
from bench.store.atomic import make_folder, write_bytes
from bench.store.codec import from_file, to_bytes
from bench.store.runs import RunFolder

TAIL_BYTES = 2000
FINISHED = "finished"
OUT_OF_TIME = "out of time"
TOO_LATE = "too late"
"""It is past the time that `--until` named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One `sbatch`: the first one of a run, or a resume.

    Attributes:
        number: 0 is the first.
        chunks: Keys of the cells of each task; the index is that of the array.
        job: What the cluster was asked for.
        sampling: How long each cell is measured.
        timeout_seconds: Timeout of each process of a cell or case; None is the default.
        is_predicting: Skip cells whose predicted peak exceeds the free memory of their node.
        is_metering: Measure the energy of a step too.
        is_cold: Measure cold starts too.
        retried: What `--retry` named: cells that had ended like this are measured again.
        superseded: The records of those cells when it was submitted, as pairs of the cell's key and a digest.
        until: No cell starts at or after this time, ISO 8601 with zone.
        submitted_at: ISO 8601 with zone.
        job_id: None until sbatch has answered.
    """

    number: int
    chunks: tuple[tuple[str, ...], ...]
    job: JobOptions
    sampling: Sampling
    timeout_seconds: float | None = None
    is_predicting: bool = True
    is_metering: bool = False
    is_cold: bool = False
    retried: tuple[Outcome, ...] = ()
    superseded: tuple[tuple[str, str], ...] = ()
    until: str | None = None
    submitted_at: str
    job_id: int | None = None
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskNote:
    """What a task wrote of itself, last before the cell it is at; the only witness if it dies.

    Attributes:
        job_id: Id of the whole array, as the task sees it.
        started_at: Start of the task, ISO 8601 with zone.
        running: Key of the cell it is at.
        running_since: Start of that cell.
        code: Hash of its model's source, as it will stand in its record.
        begun: How many cells it began before that one.
        environment: Environment of the node, as it will stand in the cell's record.
        ended: `finished`, `out of time`, or the signal that it heard; None while it runs or if it died at once.
        ended_after_seconds: Seconds from its start to its end.
        problem: An error that stopped the task before any cell, in one line.
    """

    host: str
    job_id: int | None
    started_at: str
    running: str | None = None
    running_since: str | None = None
    code: str | None = None
    begun: int = 0
    environment: Environment | None = None
    ended: str | None = None
    ended_after_seconds: float | None = None
    problem: str | None = None
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class SlurmFiles:
    """The folder `slurm/` of one run."""

    path: Path

    @classmethod
    def of(cls, folder: RunFolder) -> SlurmFiles:
        """Return the files of a run, which need not be there yet."""
        return cls(folder.path.resolve() / "slurm")

    def submissions(self) -> tuple[Submission, ...]:
        """Read all submissions, oldest first; () for a run that was not made on Slurm.

        Raises:
            StoreError: One cannot be read.
        """
        paths = [path for path in self.path.glob("*.json") if path.stem.isdigit()]
        return tuple(from_file(Submission, path) for path in sorted(paths, key=lambda path: int(path.stem)))

    def submission(self, number: int) -> Submission:
        """Read one submission.

        Raises:
            StoreError: It is not there.
        """
        return from_file(Submission, self.path / f"{number}.json")

    def write_submission(self, submission: Submission) -> None:
        """Write one submission, or rewrite it with its job id.

        Raises:
            StoreError: It cannot be written.
        """
        make_folder(self.path)
        write_bytes(self.path / f"{submission.number}.json", to_bytes(submission, "the submission"))

    def write_script(self, number: int, text: str) -> Path:
        """Write a batch script and return its path."""
        make_folder(self.path)
        path = self.path / f"{number}.sh"
        write_bytes(path, text.encode())
        return path

    def forget_submission(self, number: int) -> None:
        """Withdraw a submission that sbatch refused."""
        for path in (self.path / f"{number}.json", self.path / f"{number}.sh"):
            path.unlink(missing_ok=True)

    def note(self, chunk: str) -> TaskNote | None:
        """Read what a task wrote of itself; None if it never began."""
        path = self.path / f"{chunk}.json"
        return from_file(TaskNote, path) if path.is_file() else None

    def write_note(self, chunk: str, note: TaskNote) -> None:
        """Write what a task says of itself, whole and durable, before what it says is tried."""
        write_bytes(self.path / f"{chunk}.json", to_bytes(note, f"the note of task {chunk}"))

    def exit_code(self, chunk: str) -> int | None:
        """Read the exit code that the script left; None if it was killed before."""
        try:
            text = (self.path / f"{chunk}.exit").read_text().strip()
        except OSError:
            return None
        return int(text) if text.isdigit() else None

    def output(self, chunk: str) -> tuple[str, float | None]:
        """Read the end of what a task printed and when it last did (seconds of the epoch)."""
        path = self.path / f"{chunk}.out"
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - TAIL_BYTES))
                return file.read().decode(errors="replace").strip(), path.stat().st_mtime
        except OSError:
            return "", None


def chunk_name(submission: int, index: int) -> str:
    """Name a task: `0.3` is task 3 of submission 0."""
    return f"{submission}.{index}"


def parse_chunk(text: str) -> tuple[int, int]:
    """Read the name of a task.

    Raises:
        BenchError: It is none.
    """
    number, _, index = text.partition(".")
    if not (number.isdigit() and index.isdigit()):
        raise BenchError(f"{text!r} is not a task of a run; write it as SUBMISSION.INDEX, for example 0.3")
    return int(number), int(index)


def unrecorded(work: Work, keys: Collection[str], superseded: Mapping[str, str]) -> tuple[Item, ...]:
    """Return those of the cells that have no record, or one of a model that was edited since, in the plan's order.

    A record that ended badly stands: a cell that ran out of memory would do so again. Only one that is `superseded`
    by a submission does not; what replaced it stands, however it ended.
    """
    wanted = [item for item in work.items if item.key in keys]
    known = {
        work.item_of(result).key: result.code for result in work.read()[0] if not work.is_superseded(result, superseded)
    }
    codes = {model: code_hash(model) for model in dict.fromkeys(cell_of(item).model for item in wanted)}

    def is_known(item: Item) -> bool:
        code = codes[cell_of(item).model]
        return code is not None and known.get(item.key) == code

    return tuple(item for item in wanted if not is_known(item))


def require_submissions(folder: RunFolder) -> tuple[Submission, ...]:
    """Read the submissions of a run on Slurm.

    Raises:
        BenchError: The run was made here, not on Slurm.
    """
    submissions = SlurmFiles.of(folder).submissions()
    if not submissions:
        raise BenchError(f"{folder.path.name} is not a Slurm run: nothing was submitted; its tables are complete")
    return submissions
