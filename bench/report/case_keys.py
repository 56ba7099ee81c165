"""The columns that name a measured case: its cell's axes that differ, then its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.core.cell import Cell
from bench.core.estimate import Estimate
from bench.core.record import Outcome
from bench.report.columns import timed_columns
from bench.report.figures import plain
from bench.report.layout import Column

_OPTIONAL_AXES = ("device", "precision", "threads", "seed")


def key_columns(cells: Sequence[Cell], own: Sequence[tuple[str, Sequence[Any]]], always: int = 1) -> list[Column]:
    """Make the columns that name a row.

    Args:
        cells: One per row.
        own: Header and values of the case's own axes, most important first.
        always: So many of them always stand; the others only where they differ.
    """
    shown = [axis for axis in _OPTIONAL_AXES if len({getattr(cell, axis) for cell in cells}) > 1]
    kept = [(header, values) for index, (header, values) in enumerate(own) if index < always or len(set(values)) > 1]
    return [
        Column(header="model", cells=tuple(plain(cell.model) for cell in cells), right=False, key=True),
        *(
            Column(header=axis, cells=tuple(_text(getattr(cell, axis)) for cell in cells), right=False, key=True)
            for axis in shown
        ),
        Column(header="batch", cells=tuple(str(cell.batch_size) for cell in cells), key=True),
        *(
            Column(header=header, cells=tuple(map(_text, values)), right=_is_figure(values), key=True)
            for header, values in kept
        ),
    ]


def failed_rows(measured: Sequence[Any]) -> dict[int, str]:
    """Say per row that has no figures why: `OUT OF MEMORY: ...`."""
    return {
        row: plain(f"{one.outcome.value.replace('_', ' ').upper()}: {one.reason or 'no reason was given'}")
        for row, one in enumerate(measured)
        if one.outcome is not Outcome.OK
    }


def failures(measured: Sequence[Any]) -> list[str]:
    """Say in full, below a table, why cases failed: a row has little room."""
    return [f"{plain(measured[row].case.id)}: {text}" for row, text in failed_rows(measured).items()]


def estimate_columns(header: str, estimates: Sequence[Estimate | None], rank: int = 0) -> list[Column]:
    """Make a column of medians and one of half their intervals, where there are any."""
    if not any(estimates):
        return []
    halves = [
        (one.high - one.low) / 2 if one is not None and one.low is not None and one.high is not None else None
        for one in estimates
    ]
    return timed_columns(header, [one.point if one else None for one in estimates], halves, rank)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "own" if value is None else plain(str(value))


def _is_figure(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
