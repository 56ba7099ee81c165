"""One column of a table, and the columns that name the cell in every table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        dtype: Of pandas, nullable: `string`, `Int64`, `Float64`, `boolean`.
        unit: `s`, `bytes`, ... or `` for text.
        get: Reads the value off a row; None is "not measured".
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    get: Callable[[Any], Any]


def shape_text(shape: tuple[int, ...] | None) -> str | None:
    """Write a shape as `8x32x48x48`; None stays None."""
    return None if shape is None else "x".join(map(str, shape))


_AXIS_MEANINGS = {
    "model": ("string", "", "model spec as typed"),
    "mode": ("string", "", "`train` (a whole training step) or `infer` (forward only, eval mode, no gradients)"),
    "batch_size": ("Int64", "examples", "examples per step, of each process"),
    "device": ("string", "", "`cpu` or `cuda:N`; of several processes the first one's"),
    "precision": ("string", "", "`fp32`, `tf32`, `bf16-amp`, `fp16-amp`, `bf16`"),
    "optimizer": ("string", "", "optimizer that was asked for; empty is the workload's own"),
    "compile": ("string", "", "`torch.compile` mode; `none` is eager"),
    "memory_format": ("string", "", "`contiguous` or `channels_last`"),
    "input_shape": ("string", "", "shape of one example, for a bare module; else empty"),
    "threads": (
        "Int64",
        "threads",
        "threads of a process that were asked for; empty is torch's default, shared out among processes",
    ),
    "world_size": ("Int64", "processes", "processes that train together"),
    "parallel": ("string", "", "how they do: `ddp` or `fsdp2`; without meaning for one process"),
    "seed": ("Int64", "", "seed of weights and data; the data of rank R are seeded by seed + R"),
}


def _axis(name: str) -> Callable[[Any], Any]:
    if name == "input_shape":
        return lambda row: shape_text(row.record.cell.input_shape)
    return lambda row: getattr(row.record.cell, name)


def axes(names: tuple[str, ...]) -> tuple[Column, ...]:
    """Make the columns that say which cell a row belongs to."""
    return (
        Column("cell_id", "string", "", "the cell's name for people", lambda row: row.record.cell.id),
        Column("cell_key", "string", "", "the cell's key: joins tables and runs", lambda row: row.record.cell.key),
        *(Column(name, *_AXIS_MEANINGS[name], _axis(name)) for name in names),
    )


SHORT_AXES = ("model", "mode", "batch_size", "device", "precision")
INTERVAL = "of the 95 % interval of the median; empty where the sample is too small for one"
