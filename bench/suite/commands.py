"""The command lines that measure given cells: what was planned, back to what is typed."""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from bench.core.advice import DOUBTED
from bench.core.cell import Cell
from bench.core.errors import UsageError
from bench.core.record import Sampling
from bench.suite.axes import AXES
from bench.suite.sweep import RUN_ONLY, Sweep, values_of


def longer_commands(cells: Sequence[Cell], sampling: Sampling, seconds: float, run: str) -> tuple[str, ...]:
    """Write the commands that measure doubted cells longer, and no others; a run is resumed where they are no sweep.

    Args:
        cells: With full device names.
        sampling: How they were sampled.
        seconds: The budget of a cell now.
        run: What a command calls the run that they are of.
    """
    budget = ["--budget", f"{seconds:.0f}s"]
    if not all(_is_sweep(group) for group in _fed_alike(cells)):
        return (retry_command(run, *budget),)
    usual = Sampling()
    options = [f"--{name.replace('_', '-')}" for name in _SWITCHES if getattr(sampling, name)]
    for name, flag, unit in _NUMBERS:
        if (value := getattr(sampling, name)) != getattr(usual, name):
            options += [flag, f"{value:g}{unit}"]
    return run_commands(cells, [*options, *budget])


def retry_command(run: str, *options: str) -> str:
    """Write the command that measures the doubted cells of a run again."""
    return shlex.join(["bench", "run", "--resume", run, "--retry", DOUBTED, *options])


_SWITCHES = ("tail", "cold_cache", "lock_clocks", "exclusive")
_NUMBERS = (("target", "--target", ""), ("processes", "--processes", ""), ("min_warmup_seconds", "--warmup", "s"))
"""Fields of `Sampling` with their options."""
_MOST_SWEPT = 10_000
"""Values of the axes multiplied; a larger product is not expanded to look at its cells."""


def _is_sweep(cells: Collection[Cell]) -> bool:
    """Whether one command measures these cells and no others."""
    axes = {name: values for name, values in _axes_of(cells).items() if values}
    if math.prod(map(len, axes.values())) > _MOST_SWEPT:
        return False
    try:
        return set(Sweep(axes=axes).cells()) == set(cells)
    except UsageError:  # with strong scaling a cell has its share of the batch that was typed
        return False


def run_commands(cells: Iterable[Cell], options: Sequence[str] = ()) -> tuple[str, ...]:
    """Write the `bench run` commands that measure these cells; those that are fed alike share one."""
    return tuple(
        shlex.join(["bench", "run", *dict.fromkeys(cell.model for cell in group), *_run_options(group), *options])
        for group in _fed_alike(cells)
    )


def _fed_alike(cells: Iterable[Cell]) -> Collection[list[Cell]]:
    groups: dict[Any, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.input_shape, []).append(cell)
    return groups.values()


_ALWAYS_TYPED = ("mode", "batch_size", "precision")


def _axes_of(cells: Collection[Cell]) -> dict[str, tuple[Any, ...]]:
    """Return the values on each axis, of the cells in which it means something."""
    of_cells = [values_of(cell) for cell in cells]
    return {
        name: tuple(dict.fromkeys(values[name] for values in of_cells if axis.about.applies(values)))
        for name, axis in AXES.items()
    }


def _run_options(cells: Sequence[Cell]) -> list[str]:
    words: list[str] = []
    axes = _axes_of(cells)
    for axis in sorted(AXES.values(), key=lambda axis: axis.name not in _ALWAYS_TYPED):
        values = axes[axis.name]
        is_always = axis.name in _ALWAYS_TYPED
        if axis.name != "model" and (is_always or set(values) - {axis.default}):
            words += [axis.flags[0 if is_always else -1], ",".join(map(axis.words, values))]
    return words + (["--executor", "slurm"] if any(cell.nodes > 1 for cell in cells) else [])


_COMPARED = tuple(axis for name, axis in AXES.items() if name not in ("model", *RUN_ONLY))


def ab_commands(base: str | None, head: str | None, cells: Iterable[Cell]) -> tuple[str, ...]:
    """Write the `bench ab` commands that can judge these cells; cells that differ in the model only share one.

    A cell that `bench ab` cannot measure, of several processes or of a seed of its own, is left out.
    """
    sides = [base[:12] if base else "BASE", head[:12] if head and head != base else "HEAD" if not head else "."]
    groups: dict[tuple[str, ...], list[str]] = {}
    for cell in cells:
        if all(getattr(cell, name) == AXES[name].default for name in RUN_ONLY if name in AXES):
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
