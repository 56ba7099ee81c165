"""Talk to Slurm through its own commands: submit a script, ask for states, cancel.

No daemon, no library, no accounting needed: `scontrol` knows what is queued, runs or ended minutes ago, `sacct` the
rest where it is switched on, and what neither knows the tasks have written themselves (`slurm_endings`).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import BenchError

ANSWER_SECONDS = 60.0
"""How long a command of Slurm may take; a controller that is down lets it hang."""

_LIVE = frozenset(
    (
        "PENDING",
        "CONFIGURING",
        "RUNNING",
        "COMPLETING",
        "SUSPENDED",
        "STOPPED",
        "RESIZING",
        "SIGNALING",
        "STAGE_OUT",
        "REQUEUED",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
        "SPECIAL_EXIT",
        "RESV_DEL_HOLD",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatus:
    """What Slurm says of one task of an array.

    Attributes:
        state: Slurm's word: PENDING, RUNNING, TIMEOUT, ...
        exit_code: Exit code of the batch script; None where a signal ended it, or nothing did yet.
        node: Where it ran; None before.
    """

    state: str
    exit_code: int | None = None
    node: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether it may still write records."""
        return self.state in _LIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a command of Slurm ended."""

    code: int
    output: str = ""
    errors: str = ""


Runner = Callable[[Sequence[str]], Completed]


def run_command(command: Sequence[str]) -> Completed:
    """Run one command of Slurm.

    Raises:
        BenchError: It is not installed here, or does not answer.
    """
    # Otherwise a long list of array indices is cut short with dots.
    environment = os.environ | {"SLURM_BITSTR_LEN": "0"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS, env=environment)
    except FileNotFoundError:
        raise BenchError(
            f"{command[0]!r} is not on this machine; run this where Slurm's commands are, usually a login node"
        ) from None
    except subprocess.TimeoutExpired:
        raise BenchError(f"{command[0]!r} did not answer in {ANSWER_SECONDS:g} s; is slurmctld up?") from None
    return Completed(code=done.returncode, output=done.stdout, errors=done.stderr)


class Slurm:
    """The commands of one cluster; `run` is the seam for tests."""

    def __init__(self, run: Runner = run_command) -> None:
        self._run = run

    def check(self) -> None:
        """Make sure that jobs can be submitted from here, before anything is prepared.

        Raises:
            BenchError: There is no sbatch.
        """
        self._run(("sbatch", "--version"))

    def submit(self, script: Path) -> int:
        """Submit a script and return the id of its job.

        Raises:
            BenchError: sbatch refuses; in its own words.
        """
        done = self._run(("sbatch", "--parsable", str(script)))
        job_id = done.output.strip().partition(";")[0]  # a federation adds the cluster's name
        if done.code != 0 or not job_id.isdigit():
            raise BenchError(f"sbatch refuses: {words_of(done)}")
        return int(job_id)

    def find(self, job_name: str) -> int | None:
        """Find a queued job by its name, for a submission whose answer was lost."""
        done = self._run(("squeue", "--noheader", "--name", job_name, "--format", "%F"))
        ids = done.output.split()
        return int(ids[0]) if done.code == 0 and ids else None

    def states(self, job_id: int, job_name: str) -> dict[int, TaskStatus]:
        """Ask for every task of an array, by its index; one that Slurm has forgotten is left out.

        Args:
            job_id: Id of the array.
            job_name: Ids start over some day; a job of another name is a stranger.

        Raises:
            BenchError: The controller cannot be asked, which says nothing about the tasks.
        """
        shown = self._run(("scontrol", "--oneliner", "show", "job", str(job_id)))
        if shown.code != 0 and "Invalid job id" not in shown.errors + shown.output:
            raise BenchError(f"Slurm cannot be asked about job {job_id}: {words_of(shown)}")
        known = parse_scontrol(shown.output, job_name)
        return self._accounted(job_id, job_name) | known

    def cancel(self, job_id: int) -> None:
        """Cancel all tasks of a job that are queued or run; one that is over is left alone.

        Raises:
            BenchError: scancel refuses.
        """
        done = self._run(("scancel", str(job_id)))
        if done.code != 0 and "Invalid job id" not in done.errors:
            raise BenchError(f"scancel refuses: {words_of(done)}")

    def _accounted(self, job_id: int, job_name: str) -> dict[int, TaskStatus]:
        """Ask the accounting, which many clusters have and some have not."""
        command = ("sacct", "-j", str(job_id), "-X", "-n", "-P", "-o", "JobID,State,ExitCode,NodeList,JobName")
        try:
            done = self._run(command)
        except BenchError:
            return {}
        return parse_sacct(done.output, job_name) if done.code == 0 else {}


_FIELD = re.compile(r"(?:^|\s)(ArrayTaskId|JobName|JobState|ExitCode|NodeList)=(\S+)")


def parse_scontrol(text: str, job_name: str) -> dict[int, TaskStatus]:
    """Read the lines of `scontrol --oneliner show job`; a line of queued tasks holds many indices."""
    found: dict[int, TaskStatus] = {}
    for line in text.splitlines():
        fields = dict(_FIELD.findall(line))
        if "ArrayTaskId" in fields and "JobState" in fields and fields.get("JobName") == job_name:
            status = _status(fields["JobState"], fields.get("ExitCode", ""), fields.get("NodeList", ""))
            found |= dict.fromkeys(parse_indices(fields["ArrayTaskId"]), status)
    return found


def parse_sacct(text: str, job_name: str) -> dict[int, TaskStatus]:
    """Read the lines of `sacct -X -n -P` as asked above: `8_[2-4%2]|PENDING|0:0|None assigned|bench-...`."""
    found: dict[int, TaskStatus] = {}
    for line in text.splitlines():
        parts = line.split("|")
        if len(parts) == 5 and "_" in parts[0] and parts[4] == job_name:
            status = _status(parts[1], parts[2], parts[3])
            found |= dict.fromkeys(parse_indices(parts[0].partition("_")[2].strip("[]")), status)
    return found


def parse_indices(text: str) -> tuple[int, ...]:
    """Read indices of an array as Slurm prints them: `0`, `2-4%2`, `1,3,5-9:2%4`."""
    indices: list[int] = []
    for part in text.partition("%")[0].split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if match is not None:
            first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
            indices += range(first, last + 1, step)
    return tuple(indices)


def _status(state: str, exit_code: str, node: str) -> TaskStatus:
    code, _, signal_number = exit_code.partition(":")
    is_code = code.isdigit() and signal_number in ("", "0")
    is_node = node not in ("", "(null)", "None assigned", "None")
    return TaskStatus(
        state=state.split()[0].rstrip("+") if state.strip() else "UNKNOWN",  # `CANCELLED by 0`
        exit_code=int(code) if is_code else None,
        node=node if is_node else None,
    )


def words_of(done: Completed) -> str:
    """Format what a command printed as one line, without its own name before each."""
    lines = [re.sub(r"^\w+: (error|fatal): ", "", line.strip()) for line in (done.errors or done.output).splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line)) or f"exit code {done.code}"
