"""Rows of one panel: one model with its other axes; batch size, precision and run vary within the panel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter

from bench.core.cell import Cell, Precision
from bench.core.record import UNMARKED, Phase
from bench.report.html.contract import ReportData, Row
from bench.tables.cell_values import varying_axes
from bench.tables.figures import first, name

_ON_PANEL = frozenset({"batch_size", "precision"})

NO_PHASE = 7
PHASE_COLORS: dict[Phase | str, int] = {
    Phase.FORWARD: 0,
    Phase.LOSS: 6,
    Phase.BACKWARD: 1,
    Phase.OPTIMIZER: 2,
    UNMARKED: NO_PHASE,
}
_OTHER_COLORS = (3, 5, 4)


def phase_colors(phases: Iterable[Phase | str]) -> dict[Phase | str, int]:
    """Choose a colour for each of these phases: built-in ones have their own, a user's get the others in turn."""
    found = dict.fromkeys(phases)
    own = [phase for phase in found if phase not in PHASE_COLORS]
    colors: dict[Phase | str, int] = {phase: color for phase, color in PHASE_COLORS.items() if phase in found}
    colors |= {phase: _OTHER_COLORS[index % len(_OTHER_COLORS)] for index, phase in enumerate(own)}
    return colors


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows of one panel under its title, in the order of batch size, then precision, then run."""

    title: str
    rows: tuple[Row, ...]


def grouped(data: ReportData, wanted: Callable[[Row], bool]) -> list[Group]:
    """Group the rows that are wanted, in the order of their first row."""
    axes = [axis for axis in varying_axes(data.records, always=("model",)) if axis not in _ON_PANEL]
    shared = attrgetter(*(f.name for f in fields(Cell) if f.name not in _ON_PANEL))
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in data.rows:
        if wanted(row):
            found.setdefault(shared(row.record.cell), []).append(row)
    order = list(Precision)
    return [
        Group(
            title=" · ".join(_text(axis, getattr(rows[0].record.cell, axis)) for axis in axes),
            rows=tuple(
                sorted(rows, key=lambda r: (r.record.cell.batch_size, order.index(r.record.cell.precision), r.run))
            ),
        )
        for rows in found.values()
    ]


_MOST_GROUPS, _MOST_BARS = 24, 16


def bar_groups(data: ReportData, wanted: Callable[[Row], bool]) -> tuple[list[Group], list[str]]:
    """Group the wanted rows for bars, as many as one can read; also return notes on what is left out."""
    found, note = first(grouped(data, wanted), _MOST_GROUPS, "models")
    cut = any(len(group.rows) > _MOST_BARS for group in found)
    notes = [*filter(None, [note, f"At most {_MOST_BARS} cells of a model are shown." if cut else ""])]
    groups = [Group(title=group.title, rows=group.rows[:_MOST_BARS]) for group in found]
    return groups, [*notes, "All others are in the table of cells."] if notes else []


def bar_keys(runs: Sequence[str]) -> list[str]:
    """Return the headings of the columns that distinguish the bars of a group."""
    return ["batch", "precision", *(["run"] if any(runs) else [])]


def bar_names(row: Row, runs: Sequence[str]) -> tuple[str, ...]:
    """Return the texts that distinguish the bar of a row from others of its group."""
    cell = row.record.cell
    return (str(cell.batch_size), cell.precision.value, *([runs[row.run]] if any(runs) else []))


def run_names(data: ReportData) -> list[str]:
    """Name the runs for people: `run 1`, `run 2`; empty if only one has rows."""
    is_one = len(data.measured_runs) <= 1
    return ["" if is_one else f"run {number + 1}" for number in range(len(data.runs))]


def series_of(rows: Sequence[Row]) -> dict[tuple[int, Precision], list[Row]]:
    """Split the rows of a panel into series, one per run and precision."""
    found: dict[tuple[int, Precision], list[Row]] = {}
    for row in rows:
        found.setdefault((row.run, row.record.cell.precision), []).append(row)
    return found


def series_name(data: ReportData, run: int, precision: Precision) -> str:
    """Name a series: `bf16-amp`, or `bf16-amp, run 2`."""
    return ", ".join(filter(None, (precision.value, run_names(data)[run])))


def legend_of(data: ReportData, rows: Sequence[Row]) -> list[dict[str, object]]:
    """List all series of a section once, for its legend: name, colour, dash."""
    found = {(row.run, row.record.cell.precision) for row in rows}
    order = list(Precision)
    return [
        {"name": series_name(data, run, precision), "color": precision.row.color, "dash": dash_of(data, run)}
        for run, precision in sorted(found, key=lambda pair: (order.index(pair[1]), pair[0]))
    ]


def dash_of(data: ReportData, run: int) -> int:
    """Return the dash of a run: a full line for the newest with rows, dashed for the one before, dotted for others."""
    return min(sum(other > run for other in data.measured_runs), 2)


def _text(axis: str, value: object) -> str:
    if axis == "model":
        return name(str(value))
    if value is None:
        return f"own {axis.replace('_', ' ')}"
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return f"{axis.replace('_', ' ')} {value}" if isinstance(value, int) else name(str(value))
