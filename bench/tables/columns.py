"""One entry per column: its value in files, and how each table shows it; the same entry serves every format.

Tables leave out a column that was measured in no row; `-` is a value that was not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from bench.core.inputs import inputs_text
from bench.core.units import format_bytes, format_count, format_seconds
from bench.suite.axes import AXES, Axis
from bench.tables.figures import byte_unit, count_unit, percent, plain, significant, time_unit, with_noise
from bench.tables.table import Column

MISSING = "-"
Reader = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How one table shows a column.

    Attributes:
        name: Header; empty if the unit is enough.
        unit: Unit of the text; seconds, bytes and counts choose theirs by the values.
        view: Names of the tables that show it, separated by blanks, if a subject has several.
        place: Order from left to right.
        rank: The higher, the sooner it is dropped on a narrow page; 0 never.
        scale: `s`, `bytes` and `count` write all rows in one unit that fits them.
        get: Value to show, if it differs from the file's.
        write: Writes one value that has no scale.
        half: Half of the interval of a duration.
        noise: The same as text, for other figures.
        mark: Sign before the figure.
        together: Columns with the same word share their prefix, and are adjacent if they are tight.
        right: Figures stand right, words left.
        key: Names the row.
        tight: One space from its left neighbour of the same word.
        always: Shown even if nothing was measured.
        when: Whether these rows need it.
        hidden_in: Formats that show the main columns only.
    """

    name: str
    unit: str = ""
    view: str = ""
    place: int = 0
    rank: int = 0
    scale: Literal["", "s", "bytes", "count"] = ""
    get: Reader | None = None
    write: Callable[[Any], str] | None = None
    half: Reader | None = None
    noise: Reader | None = None
    mark: Reader | None = None
    together: str = ""
    right: bool = True
    key: bool = False
    tight: bool = False
    always: bool = False
    when: Callable[[Sequence[Any]], bool] | None = None
    hidden_in: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column.

    Attributes:
        name: Name in files, with the unit as its end.
        dtype: Type of pandas, nullable: `string`, `Int64`, `Float64`, `boolean`.
        unit: `s`, `bytes`, ... or `` for text.
        get: Reads the value off a row; None is "not measured".
        shown: How tables show it; empty for a column of files only.
        exports: Its name in the formats of other tools that have it, by format.
        stored: Whether files have it; else it is only shown.
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    get: Reader
    shown: tuple[Shown, ...] = ()
    exports: Mapping[str, str] = field(default_factory=dict)
    stored: bool = True


def read(path: str) -> Reader:
    """Read `record.counters.parameters` off a row; None as soon as a part of it is None."""
    names = path.split(".")

    def get(row: Any) -> Any:
        for name in names:
            if row is None:
                return None
            row = getattr(row, name)
        return row

    return get


def _column(
    dtype: str, name: str, unit: str, meaning: str, get: Reader | str, *shown: Shown, **more: Any
) -> TableColumn:
    is_stored = more.pop("stored", True)
    reader = read(get) if isinstance(get, str) else get
    return TableColumn(name, dtype, unit, meaning, reader, shown, more, is_stored)


def text(name: str, meaning: str, get: Reader | str, *shown: Shown, unit: str = "", **more: Any) -> TableColumn:
    """Make a column of words; `get` is a reader or a path for `read`, `more` are names in exports, or stored=False."""
    return _column("string", name, unit, meaning, get, *shown, **more)


def flag(name: str, meaning: str, get: Reader | str, *shown: Shown, **more: Any) -> TableColumn:
    """Make a column of yes and no."""
    return _column("boolean", name, "", meaning, get, *shown, **more)


integer = partial(_column, "Int64")
"""Make a column of whole numbers: name, unit, meaning, reader, how it is shown."""

real = partial(_column, "Float64")
"""Make a column of numbers with a fraction."""


def stored(columns: Iterable[TableColumn]) -> tuple[TableColumn, ...]:
    """Return the columns of files."""
    return tuple(column for column in columns if column.stored)


def shown_columns(columns: Sequence[TableColumn], rows: Sequence[Any], view: str = "") -> list[Column]:
    """Make the columns that a table shows of rows, from left to right."""
    entries = [(shown, column) for column in columns for shown in column.shown if view in (shown.view.split() or [""])]
    entries = [entry for entry in entries if entry[0].when is None or entry[0].when(rows)]
    entries.sort(key=lambda entry: entry[0].place)
    values = [[(shown.get or column.get)(row) for row in rows] for shown, column in entries]
    made: list[Column] = []
    before = None
    for (shown, _), own in zip(entries, values, strict=True):
        if not shown.always and all(value is None or value == "" for value in own):
            continue
        beside = [
            value
            for (other, _), theirs in zip(entries, values, strict=True)
            if shown.together and other.together == shown.together and other is not shown
            for value in theirs
        ]
        made += [
            replace(
                column,
                rank=shown.rank,
                right=shown.right,
                key=shown.key,
                tight=shown.tight and before == shown.together,
                hidden_in=shown.hidden_in,
            )
            for column in _texts(shown, own, rows, beside)
        ]
        before = shown.together
    return made


def _texts(shown: Shown, values: Sequence[Any], rows: Sequence[Any], beside: Sequence[Any]) -> list[Column]:
    marks = [shown.mark(row) for row in rows] if shown.mark else ()
    if shown.scale == "s":
        return timed_columns(shown.name, values, [shown.half(row) for row in rows] if shown.half else ())
    if shown.scale == "bytes":
        return bytes_column(shown.name, values, 0, marks)
    if shown.scale == "count":
        return counts_column(shown.name, values, 0, shown.unit, marks, beside)
    write = shown.write or (significant if shown.right else lambda value: plain(str(value)))
    cells = [MISSING if value is None else write(value) for value in values]
    noise = noise_texts([shown.noise(row) for row in rows]) if shown.noise else ()
    marked = [
        mark + cell if cell != MISSING else cell for mark, cell in zip(marks or [""] * len(cells), cells, strict=True)
    ]
    return [Column(name=shown.name, unit=shown.unit, cells=tuple(marked), noise=noise)]


def timed_columns(
    name: str, points: Sequence[float | None], halves: Sequence[float | None] = (), rank: int = 0
) -> list[Column]:
    """Make a column of durations, with their noise if there are halves, in one unit if one fits all."""
    unit = time_unit(point for point in points if point is not None)
    values, noises = [], []
    for point, half in zip(points, halves or [None] * len(points), strict=True):
        if point is None:
            value, noise = MISSING, ""
        elif unit is None:
            value, noise = format_seconds(point), f"{percent(half / point)} %" if half is not None and point else ""
        else:
            value, noise = with_noise(point / unit[0], None if half is None else half / unit[0])
        values.append(value)
        noises.append(noise)
    return [Column(name=name, unit=unit[1] if unit else "", cells=tuple(values), noise=noise_texts(noises), rank=rank)]


def noise_texts(noises: Sequence[str]) -> tuple[str, ...]:
    """Write `± ` before noise; empty if no row has any."""
    return tuple(f"± {noise}" if noise else "" for noise in noises) if any(noises) else ()


def whole(value: float) -> str:
    """Write an exact count: `9,547,360`."""
    return f"{value:,.0f}"


def figure_column(
    name: str,
    values: Sequence[float | None],
    rank: int,
    write: Callable[[float], str] = significant,
    prefixes: Sequence[str] = (),
    *,
    unit: str = "",
) -> list[Column]:
    """Make one column of figures; none if nothing was measured."""
    if all(value is None for value in values):
        return []
    cells = [MISSING if value is None else write(value) for value in values]
    if prefixes:
        cells = [prefix + cell if cell != MISSING else cell for prefix, cell in zip(prefixes, cells, strict=True)]
    return [Column(name=name, unit=unit, cells=tuple(cells), rank=rank)]


def bytes_column(name: str, values: Sequence[float | None], rank: int, prefixes: Sequence[str] = ()) -> list[Column]:
    """Make a column of byte counts, in one binary unit if one fits all."""
    unit = byte_unit(value for value in values if value is not None)
    if unit is None:
        return figure_column(name, values, rank, format_bytes, prefixes)
    return figure_column(name, values, rank, lambda value: significant(value / unit[0]), prefixes, unit=unit[1])


def counts_column(
    name: str,
    values: Sequence[float | None],
    rank: int,
    unit_name: str = "",
    prefixes: Sequence[str] = (),
    beside: Sequence[float | None] = (),
) -> list[Column]:
    """Make a column of counts, with one decimal prefix if one fits all: the header says `GFLOPs`.

    `beside` are the values of columns next to it, with which it shares its prefix.
    """
    unit = count_unit(value for value in (*values, *beside) if value is not None)
    if unit is None:
        return figure_column(name, values, rank, format_count, prefixes, unit=unit_name)
    scale, prefix = unit
    write = (lambda value: significant(value / scale)) if scale > 1 else whole
    return figure_column(name, values, rank, write, prefixes, unit=prefix + unit_name)


def shape_text(shape: tuple[int, ...] | None) -> str | None:
    """Write a shape as `8x32x48x48`; None stays None."""
    return None if shape is None else "x".join(map(str, shape))


def _axis_column(axis: Axis) -> TableColumn:
    dtype = "Int64" if axis.kind is int else "Float64" if axis.kind is float else "string"
    meaning = axis.fill(axis.about.meaning, "`")
    if not axis.is_inputs:
        return TableColumn(axis.name, dtype, axis.about.unit, meaning, lambda row: getattr(row.record.cell, axis.name))
    return TableColumn(axis.name, dtype, "", meaning, lambda row: inputs_text(getattr(row.record.cell, axis.name)))


def axes(names: tuple[str, ...]) -> tuple[TableColumn, ...]:
    """Make the columns that identify the cell of a row."""
    return (
        TableColumn("cell_id", "string", "", "the cell's name for people", lambda row: row.record.cell.id),
        TableColumn("cell_key", "string", "", "the cell's key: joins tables and runs", lambda row: row.record.cell.key),
        *(_axis_column(AXES[name]) for name in names),
    )


SHORT_AXES = ("model", "mode", "batch_size", "device", "precision")
INTERVAL = "of the 95 % interval of the median; empty if the sample is too small"
