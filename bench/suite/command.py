"""The command line that measures given cells: what was planned, back to what is typed."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from bench.core.cell import Cell
from bench.core.inputs import inputs_text


def ab_commands(base: str | None, head: str | None, cells: Iterable[Cell]) -> tuple[str, ...]:
    """Write the `bench ab` commands that can judge these cells; cells that differ in the model only share one."""
    sides = [base[:12] if base else "BASE", head[:12] if head and head != base else "HEAD" if not head else "."]
    groups: dict[tuple[str, ...], list[str]] = {}
    for cell in cells:
        groups.setdefault(tuple(_options(cell)), []).append(cell.model)
    return tuple(
        shlex.join(["bench", "ab", *sides, *dict.fromkeys(models), *options]) for options, models in groups.items()
    )


def _options(cell: Cell) -> list[str]:
    default = Cell(model="", batch_size=1)
    options = ["-b", str(cell.batch_size)]
    for option, field in (
        ("--mode", "mode"),
        ("-d", "device"),
        ("-p", "precision"),
        ("--optimizer", "optimizer"),
        ("--compile", "compile"),
        ("--memory-format", "memory_format"),
        ("--threads", "threads"),
        ("--accumulate", "accumulate"),
        ("--clip-norm", "clip_norm"),
    ):
        value = getattr(cell, field)
        if value != getattr(default, field):
            options += [option, str(value)]
    if (inputs := inputs_text(cell.input_shape)) is not None:
        options += ["--input", inputs]
    return options
