"""The command line that measures given cells: what was planned, back to what is typed."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from bench.core.cell import Cell
from bench.suite.axes import AXES

RUN_ONLY = ("world_size", "parallel", "seed")
"""Axes of runs alone: what is compared or profiled is one process, with the seed that all have."""

_COMPARED = tuple(axis for name, axis in AXES.items() if name not in ("model", *RUN_ONLY))


def ab_commands(base: str | None, head: str | None, cells: Iterable[Cell]) -> tuple[str, ...]:
    """Write the `bench ab` commands that can judge these cells; cells that differ in the model only share one.

    A cell that `bench ab` cannot measure, of several processes or of a seed of its own, is left out.
    """
    sides = [base[:12] if base else "BASE", head[:12] if head and head != base else "HEAD" if not head else "."]
    groups: dict[tuple[str, ...], list[str]] = {}
    for cell in cells:
        if all(getattr(cell, name) == AXES[name].default for name in RUN_ONLY):
            groups.setdefault(tuple(_options(cell)), []).append(cell.model)
    return tuple(
        shlex.join(["bench", "ab", *sides, *dict.fromkeys(models), *options]) for options, models in groups.items()
    )


def _options(cell: Cell) -> list[str]:
    options = []
    for axis in _COMPARED:
        value = getattr(cell, axis.name)
        if axis.name == "batch_size" or value != axis.default:
            options += [axis.flags[0], axis.words(value)]
    return options
