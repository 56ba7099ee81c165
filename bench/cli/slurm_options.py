"""The options of `bench run --executor slurm`, and what they parse to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli.options import parse_duration
from bench.core.errors import SuiteError

PartitionOption = Annotated[str | None, typer.Option("--partition", help="Slurm: partition.", show_default=False)]
GpusOption = Annotated[
    str | None, typer.Option("--gpus", help="Slurm: GPUs of a task, for example h100:1.", show_default=False)
]
TimeOption = Annotated[
    str | None, typer.Option("--time", help="Slurm: limit of a task, which measures several cells (20m).")
]
ParallelOption = Annotated[
    int | None, typer.Option("--max-parallel", min=1, help="Slurm: most tasks at once.", show_default=False)
]
ExclusiveOption = Annotated[
    bool, typer.Option("--exclusive", help="Slurm: no other job on the node; without it times are doubtful.")
]
SetupOption = Annotated[
    list[str] | None, typer.Option("--setup", help="Slurm: a line of shell before the measuring; repeat.")
]
ExtraOption = Annotated[
    list[str] | None, typer.Option("--extra-sbatch", help="Slurm: a further option of sbatch, as typed there; repeat.")
]
CellsPerTaskOption = Annotated[
    int | None,
    typer.Option("--cells-per-task", min=1, help="Slurm: at most so many cells per task; default: minutes' worth."),
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
        SuiteError: A value makes no sense.
    """
    typed = {
        "partition": partition,
        "gpus": gpus,
        "time_seconds": parse_duration(time, "--time"),
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
                raise SuiteError(f"{option} must be one line that is not empty, found {value!r}")
    return {name: value for name, value in typed.items() if value is not None}


def refuse_without_slurm(typed: dict[str, Any], cells_per_task: int | None, resume: str | None, results: Path) -> None:
    """Refuse what only makes sense on a cluster where none was asked for.

    Raises:
        SuiteError: An option of a cluster was typed, or the run to be resumed was submitted to one: this machine's
            environment is another, so it would measure everything again.
        StoreError: There is no such run.
    """
    names = [name.replace("_seconds", "").replace("_", "-") for name in typed]
    names += ["cells-per-task"] if cells_per_task is not None else []
    if names:
        raise SuiteError(f"--{names[0]} is for a cluster; add --executor slurm, or leave it out")
    if resume is not None:
        from bench.store.runs import RunFolder

        folder = RunFolder.open(resume, results)
        if (folder.path / "slurm").is_dir():
            raise SuiteError(f"{folder.run.id} was submitted to Slurm; add --executor slurm to submit what it lacks")
