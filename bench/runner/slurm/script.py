"""What a cluster is asked for, and the batch script that asks for it.

Put short cells together, so that a task takes minutes: waiting in a queue takes longer than a cell.
"""

from __future__ import annotations

import math
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.cell import CompileMode
from bench.core.errors import BenchError
from bench.core.record import Sampling
from bench.runner.slurm.work import Item, cell_of


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What the cluster is asked for; the same for every task of a submission.

    Attributes:
        partition: None is the cluster's default.
        gpus: GPUs as `sbatch --gpus` takes them: `1`, `h100:1`.
        time_seconds: Limit of one task, which measures several cells.
        max_parallel: Tasks that may run at once; None leaves it to Slurm.
        nodes: Nodes of a task: those of its cells.
        exclusive: No other job on the node, which is what a timing wants.
        setup: Lines of shell before the measuring, for example `module load cuda`.
        extra_sbatch: Further options of sbatch, as typed there.
    """

    partition: str | None = None
    gpus: str | None = None
    time_seconds: float = 20 * 60
    max_parallel: int | None = None
    nodes: int = 1
    exclusive: bool = False
    setup: tuple[str, ...] = ()
    extra_sbatch: tuple[str, ...] = ()

    @property
    def limit_seconds(self) -> int:
        """Return the limit as Slurm understands it: whole minutes, rounded up."""
        return math.ceil(self.time_seconds / 60) * 60


def script_text(job: JobOptions, *, name: str, run_folder: Path, submission: int, tasks: int, workdir: Path) -> str:
    """Write the batch script of one submission; the task's files begin with its number.

    Every node must see the run's folder under this path. In `workdir` the run was asked for: there relative paths of
    models hold.
    """
    throttle = f"%{job.max_parallel}" if job.max_parallel else ""
    files = f"{run_folder}/slurm/{submission}"
    folder = shlex.quote(f"{run_folder}/slurm")
    minutes = job.limit_seconds // 60
    # Slurm would restart a lost task from its first line; a lost cell should be a row, and `--resume` one decision.
    options = [
        f"--job-name={name}",
        f"--array=0-{tasks - 1}{throttle}",
        f"--nodes={job.nodes}",
        *(["--ntasks=1"] if job.nodes == 1 else ["--ntasks-per-node=1"]),
        f"--time={minutes // 60}:{minutes % 60:02}:00",
        "--no-requeue",
        f"--output={_escaped(files)}.%a.out",
        *([f"--partition={job.partition}"] if job.partition else []),
        *([f"--gpus={job.gpus}"] if job.gpus else []),
        *(["--exclusive"] if job.exclusive else []),
        *job.extra_sbatch,
    ]
    command = shlex.join([sys.executable, "-m", "bench.runner.slurm.task", str(run_folder)])
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


NODES_FOLDER_VARIABLE = "STEPBENCH_NODES_FOLDER"
"""Environment variable of a task: where the nodes of a cell find what to do and leave what they found."""

TASK_SECONDS = 300.0
"""What a task should take, if its time limit is at least twice that."""

MOST_TASKS = 1000
"""Slurm's default MaxArraySize is 1001; more cells make longer tasks, not more of them."""

# Rough, on purpose too long: they decide how many cells share a task, and when a task begins no further one.
_FIXED_SECONDS = 6.0  # counting, and a process for the memory
_PROCESS_SECONDS = 4.0  # start, build, warm-up
_COMPILE_SECONDS = 60.0


def estimated_seconds(item: Item, sampling: Sampling) -> float:
    """Estimate what a cell takes from start to record."""
    compiling = 0.0 if cell_of(item).compile is CompileMode.NONE else _COMPILE_SECONDS
    return _FIXED_SECONDS + compiling + sampling.processes * (_PROCESS_SECONDS + compiling + sampling.budget_seconds)


def pack(
    cells: Sequence[Item], sampling: Sampling, *, limit_seconds: float, cells_per_task: int | None = None
) -> tuple[tuple[str, ...], ...]:
    """Part cells into the chunks of an array, in order; one is estimated to take half of a task's limit at most.

    Raises:
        BenchError: A task would be given no cell at all.
    """
    if cells_per_task is not None and cells_per_task < 1:
        raise BenchError(f"cells per task must be at least 1, found {cells_per_task}")
    least = math.ceil(len(cells) / MOST_TASKS)
    most = max(cells_per_task or len(cells), least)
    goal = math.inf if cells_per_task else min(TASK_SECONDS, limit_seconds / 2)
    chunks: list[list[str]] = []
    filled = 0.0
    for cell in cells:
        seconds = estimated_seconds(cell, sampling)
        is_full = bool(chunks) and (len(chunks[-1]) >= most or (len(chunks[-1]) >= least and filled + seconds > goal))
        if not chunks or is_full:
            chunks.append([])
            filled = 0.0
        chunks[-1].append(cell.key)
        filled += seconds
    if cells_per_task is None:
        return _evened([(cell.key, estimated_seconds(cell, sampling)) for cell in cells], len(chunks))
    return tuple(tuple(chunk) for chunk in chunks)


def _evened(cells: Sequence[tuple[str, float]], tasks: int) -> tuple[tuple[str, ...], ...]:
    """Part cells into as many tasks of about the same length, so that none is left over for a short last one.

    Each cell goes where the middle of its time falls, when all tasks are laid end to end.
    """
    total = sum(seconds for _, seconds in cells)
    chunks: list[list[str]] = [[] for _ in range(tasks)]
    before = 0.0
    for key, seconds in cells:
        chunks[min(tasks - 1, int((before + seconds / 2) / total * tasks))].append(key)
        before += seconds
    return tuple(tuple(chunk) for chunk in chunks if chunk)
