"""A sweep: the product of its axes, less what `exclude` matches, plus what `include` adds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.core.cell import Cell
from bench.core.errors import UsageError
from bench.suite.axes import AXES, axes_of


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
        unique = tuple(dict.fromkeys([*kept, *self.include]))
        if not unique:
            raise UsageError("the sweep holds no cell: name at least one model, and exclude less")
        return unique


def cell_of(values: Mapping[str, Any]) -> Cell:
    """Make a cell of values by axis; one that means nothing beside the others has its default."""
    whole = {name: axis.default for name, axis in AXES.items()} | dict(values)
    return Cell(
        **{name: value if AXES[name].about.applies(whole) else AXES[name].default for name, value in whole.items()}
    )


def sweep_of(*, models: Any, **axes: Any) -> Sweep:
    """Make a sweep of these models over these axes, each a value or a list.

    Raises:
        UsageError: See `axes_of`.
    """
    return Sweep(axes=axes_of(model=models, **axes))


def expand(sweeps: Iterable[Sweep]) -> tuple[Cell, ...]:
    """Expand several sweeps into one list of cells, each once."""
    return tuple(dict.fromkeys(cell for sweep in sweeps for cell in sweep.cells()))


def _matches(cell: Cell, group: tuple[Rule, ...]) -> bool:
    return all(str(getattr(cell, rule.axis)) in rule.values for rule in group)
