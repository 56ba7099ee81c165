"""What a cluster is asked for, and the batch script that asks for it."""

from __future__ import annotations

import math
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What the cluster is asked for; the same for every task of a submission.

    Attributes:
        partition: None is the cluster's default.
        gpus: As `sbatch --gpus` takes it: `1`, `h100:1`.
        time_seconds: Limit of one task, which measures several cells.
        max_parallel: Tasks that may run at once; None leaves it to Slurm.
        exclusive: No other job on the node, which is what a timing wants.
        setup: Lines of shell before the measuring, for example `module load cuda`.
        extra_sbatch: Further options of sbatch, as typed there.
    """

    partition: str | None = None
    gpus: str | None = None
    time_seconds: float = 20 * 60
    max_parallel: int | None = None
    exclusive: bool = False
    setup: tuple[str, ...] = ()
    extra_sbatch: tuple[str, ...] = ()

    @property
    def limit_seconds(self) -> int:
        """Return the limit as Slurm understands it: whole minutes, rounded up."""
        return math.ceil(self.time_seconds / 60) * 60


def script_text(
    job: JobOptions, *, name: str, run_folder: Path, submission: int, tasks: int, workdir: Path, python: str = ""
) -> str:
    """Write the batch script of one submission.

    Args:
        job: What the cluster is asked for.
        name: Of the job in the queue.
        run_folder: Absolute; every node must see it under this path.
        submission: Number of the submission; the task's files begin with it.
        tasks: Size of the array.
        workdir: Where the run was asked for, so that relative paths of models still hold.
        python: Interpreter on the nodes; default: this one, by its path.
    """
    throttle = f"%{job.max_parallel}" if job.max_parallel else ""
    files = f"{run_folder}/slurm/{submission}"
    folder = shlex.quote(f"{run_folder}/slurm")
    minutes = job.limit_seconds // 60
    # Slurm would restart a lost task from its first line; a lost cell should be a row, and `--resume` one decision.
    options = [
        f"--job-name={name}",
        f"--array=0-{tasks - 1}{throttle}",
        "--nodes=1",
        "--ntasks=1",
        f"--time={minutes // 60}:{minutes % 60:02}:00",
        "--no-requeue",
        f"--output={_escaped(files)}.%a.out",
        *([f"--partition={job.partition}"] if job.partition else []),
        *([f"--gpus={job.gpus}"] if job.gpus else []),
        *(["--exclusive"] if job.exclusive else []),
        *job.extra_sbatch,
    ]
    command = shlex.join([python or sys.executable, "-m", "bench.runner.slurm_task", str(run_folder)])
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {option}" for option in options),
        f'chunk={submission}."$SLURM_ARRAY_TASK_ID"',
        f'rm -f {folder}/"$chunk".exit',
        "trap : TERM  # the task below hears it too; this shell stays to write how that one ended",
        "(",
        "    set -e",
        f"    cd {shlex.quote(str(workdir))}",
        *(f"    {line}" for line in job.setup),
        f'    exec {command} "$chunk"',
        ")",
        "code=$?",
        f'echo "$code" > {folder}/"$chunk".exit',
        'exit "$code"',
    ]
    return "\n".join(lines) + "\n"


def _escaped(path: str) -> str:
    """Write a path as sbatch reads file names: `%` begins a pattern there; quotes guard a blank."""
    path = path.replace("%", "%%")
    return f'"{path}"' if re.search(r"\s", path) else path
