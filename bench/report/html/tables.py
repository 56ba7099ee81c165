"""Columns of text, as the other reports have them, to a table for the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.report.html.limits import words
from bench.report.layout import Column


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One heading; `unit` stands under the name."""

    name: str
    unit: str
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One place of a table; `noise` is half of an interval, `± 0.4`, and stands beside the figure in line."""

    text: str
    noise: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with a caption.

    Attributes:
        rows: One tuple per row, one `Figure` per heading; the first is the row's heading.
        marks: By row, a word that colours it: `bad`, `doubt`, `good`.
        total: The last row is a sum.
    """

    caption: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[Figure, ...], ...]
    marks: Mapping[int, str] = field(default_factory=dict)
    total: bool = False


def make_table(
    columns: Sequence[Column], *, caption: str, marks: Mapping[int, str] | None = None, total: bool = False
) -> Table:
    """Make a table of columns; a column without a header holds the noise of the one left of it."""
    heads: list[Head] = []
    places: list[list[Figure]] = []
    for column in columns:
        if not column.header and places:
            places[-1] = [
                Figure(text=figure.text, noise=noise) for figure, noise in zip(places[-1], column.cells, strict=True)
            ]
            continue
        heads.append(head(column.header, right=column.right))
        places.append([Figure(text=words(cell)) for cell in column.cells])
    return Table(
        caption=caption,
        heads=tuple(heads),
        rows=tuple(zip(*places, strict=True)),
        marks=dict(marks or {}),
        total=total,
    )


def head(header: str, *, right: bool) -> Head:
    """Part a header into name and unit: the last word of a figure's header is its unit."""
    name, _, unit = header.rpartition(" ") if right else (header, "", "")
    return Head(name=name or unit, unit=unit if name else "", right=right)
