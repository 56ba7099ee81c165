"""Figures of a profile that are more correction than measurement: a mark before them, and what it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.core.profile import IDLE, OperatorCost, ProfiledLayer
from bench.core.record import Phase
from bench.report.columns import MISSING
from bench.report.layout import Column

MARK = "~"
_SENTENCE = f"{MARK} more was taken off for the profiler itself than is left: the figure is uncertain."


def is_doubtful(layers: Sequence[ProfiledLayer], phase: Phase | None = None) -> bool:
    """Whether more was taken off some layers, in one phase or in all, than is left.

    What is left of an idle row is sure: it is the step without its kernels.
    """
    costs = [
        cost for layer in layers if layer.name != IDLE for cost in layer.costs if phase is None or cost.phase is phase
    ]
    return _is_mostly_correction(sum(cost.seconds for cost in costs), sum(cost.profiled_seconds for cost in costs))


def are_doubtful(operators: Sequence[OperatorCost]) -> bool:
    """Whether more was taken off some operations than is left; of an idle row as for layers."""
    rows = [row for row in operators if row.name != IDLE]
    return _is_mostly_correction(sum(row.seconds for row in rows), sum(row.profiled_seconds for row in rows))


def marked(columns: Sequence[Column], doubts: Sequence[bool]) -> list[Column]:
    """Put the mark before the figures of doubtful rows; what was not measured stays as it is."""
    return [
        replace(
            column,
            cells=tuple(
                MARK + cell if doubt and cell != MISSING else cell
                for cell, doubt in zip(column.cells, doubts, strict=True)
            ),
        )
        for column in columns
    ]


def doubt_lines(*tables: Sequence[Column]) -> list[str]:
    """Explain the mark where a table has one."""
    figures = (cell for table in tables for column in table if column.right for cell in column.cells)
    return [_SENTENCE] if any(cell.startswith(MARK) for cell in figures) else []


def _is_mostly_correction(seconds: float, seen: float) -> bool:
    return seconds < seen / 2
