"""Options that several commands share, and what they parse to."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.core.errors import SuiteError
from bench.core.units import parse_seconds
from bench.suite.axes import axes_of


class Format(StrEnum):
    """How a command answers."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="A table for people, or JSON for machines.")]
ResultsOption = Annotated[Path, typer.Option("--results", metavar="FOLDER", help="Folder that holds the runs.")]
HistoryOption = Annotated[
    str | None,
    typer.Option(
        "--history",
        metavar="FILE|URL",
        envvar="STEPBENCH_HISTORY",
        help="SQLite file or SQLAlchemy URL (postgresql://user@host/db); default: history.sqlite in --results.",
        show_default=False,
    ),
]
BatchOption = Annotated[
    list[str] | None,
    typer.Option("-b", "--batch-size", metavar="N,...", help="Examples per step; repeat or write 8,32."),
]
ModeOption = Annotated[list[str] | None, typer.Option("--mode", metavar="MODE,...", help="train or infer.")]
DeviceOption = Annotated[
    list[str] | None, typer.Option("-d", "--device", metavar="DEVICE,...", help="cpu, cuda, cuda:N or auto.")
]
PrecisionOption = Annotated[
    list[str] | None,
    typer.Option("-p", "--precision", metavar="NAME,...", help="fp32, tf32, bf16-amp, fp16-amp or bf16."),
]
OptimizerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--optimizer",
        metavar="NAME,...",
        help="sgd, adam, adamw, rmsprop, also with -fused or -foreach; default: the model's.",
    ),
]
CompileOption = Annotated[
    list[str] | None,
    typer.Option("--compile", metavar="MODE,...", help="none, default, reduce-overhead or max-autotune."),
]
MemoryFormatOption = Annotated[
    list[str] | None, typer.Option("--memory-format", metavar="NAME,...", help="contiguous or channels_last.")
]
ShapeOption = Annotated[
    str | None,
    typer.Option("--input-shape", metavar="SHAPE", help="One example for a bare nn.Module, for example 3x224x224."),
]
ThreadsOption = Annotated[
    list[str] | None, typer.Option("--threads", metavar="N,...", help="Threads inside an operation.")
]
WorldSizeOption = Annotated[
    list[str] | None,
    typer.Option("--world-size", metavar="N,...", help="Processes that train together, a batch each; 1,2 compares."),
]
ParallelOption = Annotated[
    list[str] | None, typer.Option("--parallel", metavar="NAME,...", help="How they do: ddp or fsdp2.")
]
SeedOption = Annotated[list[str] | None, typer.Option("--seed", metavar="N,...", help="Seeds weights and data.")]


def read_axes(
    *,
    batch_size: list[str] | None = None,
    mode: list[str] | None = None,
    device: list[str] | None = None,
    precision: list[str] | None = None,
    optimizer: list[str] | None = None,
    compile: list[str] | None = None,  # noqa: A002 - the field's word, as in torch
    memory_format: list[str] | None = None,
    input_shape: str | None = None,
    threads: list[str] | None = None,
    world_size: list[str] | None = None,
    parallel: list[str] | None = None,
    seed: list[str] | None = None,
) -> dict[str, Any]:
    """Read what was typed into fields of `Sweep`; an axis that was not typed is left out.

    Raises:
        SuiteError: A value makes no sense.
    """
    typed = {
        "batch_size": batch_size,
        "mode": mode,
        "device": device,
        "precision": precision,
        "optimizer": optimizer,
        "compile": compile,
        "memory_format": memory_format,
        "threads": threads,
        "world_size": world_size,
        "parallel": parallel,
        "seed": seed,
    }
    axes = axes_of(**{name: split(values) for name, values in typed.items() if values})
    return axes if input_shape is None else axes | axes_of(input_shape=input_shape)


def parse_duration(text: str | None, option: str) -> float | None:
    """Read a duration option: `90s`, `20m`.

    Raises:
        SuiteError: It is not a positive duration.
    """
    if text is None:
        return None
    try:
        seconds = parse_seconds(text)
    except ValueError as error:
        raise SuiteError(f"{option}: {error}") from None
    if seconds <= 0:
        raise SuiteError(f"{option} must be more than nothing, found {text!r}")
    return seconds


def split(values: list[str]) -> list[str]:
    """Part a repeated option whose values may hold several, separated by commas."""
    return [part.strip() for value in values for part in value.split(",")]
