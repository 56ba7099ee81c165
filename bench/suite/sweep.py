"""A sweep: the product of its axes, less what `exclude` matches, plus what `include` adds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.core.cell import Cell, ScalingMode
from bench.core.errors import UsageError
from bench.core.text import with_option
from bench.suite.axes import AXES, MODEL_OPTIONS, TYPED, axes_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Matches the cells that have one of the given values on every axis it names: `precision is one of ...`."""

    axis: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The axes of a sweep.

    Attributes:
        axes: Values by the name of the axis; one that is left out has its default.
        exclude: Each entry is a group of rules; a cell that matches all rules of one group is left out.
        include: Cells to add that the product does not hold.
    """

    axes: Mapping[str, tuple[Any, ...]]
    exclude: tuple[tuple[Rule, ...], ...] = ()
    include: tuple[Cell, ...] = ()

    def over(self, axes: Mapping[str, tuple[Any, ...]]) -> Sweep:
        """Return the same sweep with other values on some axes."""
        return replace(self, axes={**self.axes, **axes})

    def cells(self) -> tuple[Cell, ...]:
        """Expand to cells, each once, in the order of the axes.

        Raises:
            UsageError: Nothing is left to measure.
        """
        values = (self.axes.get(name, (axis.default,)) for name, axis in AXES.items())
        cells = [cell_of(dict(zip(AXES, chosen, strict=True))) for chosen in itertools.product(*values)]
        kept = [cell for cell in cells if not any(_matches(cell, group) for group in self.exclude)]
        # After the exclusions, which name the models as they are typed.
        written = {name: self.axes[name] for name in MODEL_OPTIONS if name in self.axes}
        options = [dict(zip(written, chosen, strict=True)) for chosen in itertools.product(*written.values())]
        kept = [_with_options(cell, one) for cell in kept for one in options]
        if ScalingMode.STRONG in self.axes.get("scaling", ()):
            weak = kept if ScalingMode.WEAK in self.axes["scaling"] else []
            kept = [*weak, *map(_shared_out, kept)]
        unique = tuple(dict.fromkeys([*kept, *self.include]))
        if not unique:
            raise UsageError("the sweep holds no cell: name at least one model, and exclude less")
        return unique


def cell_of(values: Mapping[str, Any]) -> Cell:
    """Make a cell of values by axis; one that means nothing beside the others has its default."""
    whole = {name: values.get(name, axis.default) for name, axis in AXES.items()}
    cell = Cell(
        **{name: value if AXES[name].about.applies(whole) else AXES[name].default for name, value in whole.items()}
    )
    return _with_options(cell, {name: values[name] for name in MODEL_OPTIONS if name in values})


def _shared_out(cell: Cell) -> Cell:
    """Share the batch of a cell out among its processes.

    Raises:
        UsageError: It is no multiple of their number.
    """
    if cell.batch_size % cell.world_size:
        raise UsageError(
            f"strong scaling shares the batch out, and {cell.batch_size} examples are no multiple of "
            f"{cell.world_size} processes"
        )
    return replace(cell, batch_size=cell.batch_size // cell.world_size)


def _with_options(cell: Cell, options: Mapping[str, Any]) -> Cell:
    for name, value in options.items():
        cell = replace(cell, model=with_option(cell.model, name, value))
    return cell


def sweep_of(*, models: Any, **axes: Any) -> Sweep:
    """Make a sweep of these models over these axes, each a value or a list.

    Raises:
        UsageError: See `axes_of` and `refuse_idle`.
    """
    sweep = Sweep(axes=axes_of(model=models, **axes))
    refuse_idle(sweep.axes, sweep.cells)
    return sweep


def refuse_idle(axes: Mapping[str, tuple[Any, ...]], cells: Callable[[], Iterable[Cell]]) -> None:
    """Refuse a value that was asked for and means nothing in any cell, as nodes do without several processes.

    What came of it, the cells, is asked for only where that matters.

    Raises:
        UsageError: There is such a value.
    """
    for name, values in axes.items():
        axis = TYPED[name]
        asked = [value for value in values if value != axis.default]
        if axis.about.needs and asked and not any(axis.about.applies(values_of(cell)) for cell in cells()):
            words = name.replace("_", " ")
            raise UsageError(
                f"{words} {axis.words(asked[0])} needs {axis.about.needs}, which no cell has; add it, or leave "
                f"{words} out"
            )


def values_of(cell: Cell) -> dict[str, Any]:
    """Return the values of a cell by axis."""
    return {name: getattr(cell, name) for name in AXES}


def expand(sweeps: Iterable[Sweep]) -> tuple[Cell, ...]:
    """Expand several sweeps into one list of cells, each once."""
    return tuple(dict.fromkeys(cell for sweep in sweeps for cell in sweep.cells()))


def _matches(cell: Cell, group: tuple[Rule, ...]) -> bool:
    return all(str(getattr(cell, rule.axis)) in rule.values for rule in group)


RUN_ONLY = ("world_size", "nodes", "parallel", "scaling", "seed")
"""Axes of runs alone: what is compared or profiled is one process, with the seed that all have."""
