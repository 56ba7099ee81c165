"""Tables that fit their page: columns are dropped by rank, names are cut in the middle, no line is ever wrapped.

1. keys and columns of rank 0 are always shown; the others are added by rank while they fit
2. if even those are too wide, the widest key is cut
3. a row with a `span` (a cell that failed) shows its keys, then that text instead of figures
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.tables.figures import ascii_only, display_width, shorten

GAP = 2
_NARROWEST = 4
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table, already text.

    Attributes:
        name: Name without the unit; empty if the unit is enough (`GFLOPs`).
        unit: Written below the name in a terminal, after it elsewhere.
        cells: One text per row.
        noise: One text per row, `± 0.4`, beside the figure; empty if no row has any.
        right: Whether texts are aligned right, as figures are.
        key: Whether it names the row; never dropped, and blank if it repeats the row above.
        rank: The higher, the sooner it is dropped; 0 never. Columns of one rank are dropped together.
        tight: One space from its left neighbour instead of two.
        hidden_in: Formats that show the main columns only and leave it out: `html` (until asked), `latex`.
    """

    name: str
    unit: str = ""
    cells: tuple[str, ...]
    noise: tuple[str, ...] = ()
    right: bool = True
    key: bool = False
    rank: int = 0
    tight: bool = False
    hidden_in: frozenset[str] = frozenset()

    @property
    def heading(self) -> str:
        """Name and unit in one line."""
        return f"{self.name} {self.unit}".strip()

    @property
    def texts(self) -> tuple[str, ...]:
        """The cells with their noise: `12.1 ± 0.4`."""
        if not self.noise:
            return self.cells
        return tuple(f"{cell} {noise}".strip() for cell, noise in zip(self.cells, self.noise, strict=True))


class _Wrapper(textwrap.TextWrapper):
    """Breaks a word that is longer than a line, as a model's name with its options, behind a comma or a slash."""

    def _split(self, text: str) -> list[str]:
        room = self.width - len(self.subsequent_indent)
        chunks = super()._split(text)
        return [part for one in chunks for part in (_BEHIND.findall(one) if len(one) > room else [one])]


_BEHIND = re.compile(r"[^,/]*[,/]+|[^,/]+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Properties of an output: its width, whether it has colours and characters beyond ASCII.

    Attributes:
        widened_by: Option that makes the page wider; a table that leaves columns out names it.
    """

    width: int = 80
    color: bool = False
    unicode: bool = True
    widened_by: str = ""

    def paint(self, text: str, style: str | None) -> str:
        """Colour a text by ANSI codes, if the page has colours."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.color and style and text.strip() else text

    def sign(self, text: str) -> str:
        """Write a text with characters that this page can show."""
        return text if self.unicode else ascii_only(text)

    def wrap(self, text: str, indent: str = "", first: str | None = None) -> str:
        """Break running text into lines of the page's width."""
        begin = indent if first is None else first
        signed, widest = self.sign(text), max(self.width, 20)
        for width in range(widest, 9, -1):  # textwrap counts characters, and some take two columns
            wrapper = _Wrapper(width, initial_indent=begin, subsequent_indent=indent, break_on_hyphens=False)
            filled = wrapper.fill(signed)
            if all(display_width(line) <= widest for line in filled.splitlines()):
                break
        return filled


def render(
    columns: Sequence[Column],
    page: Page,
    *,
    spans: Mapping[int, str] | None = None,
    styles: Mapping[int, str | None] | None = None,
    groups: Mapping[int, str] | None = None,
    total: bool = False,
    ungrouped: Sequence[Column] = (),
) -> str:
    """Write a table that fits the page.

    Args:
        columns: All with the same number of cells.
        page: Page to fit.
        spans: Text in place of the figures, by row.
        styles: Colour of the span or the row, by row.
        groups: Heading line before a row, by row; rows are then indented.
        total: The last row is a sum, below a rule.
        ungrouped: Columns of a page that is wide enough for all, if they differ.
    """
    spans, styles, groups = spans or {}, styles or {}, groups or {}
    indent = 2 if groups else 0
    aligned = _aligned(columns)
    every = [_signed(_blanked(column, aligned, groups), page) for column in aligned]
    columns = _fitting(every, page.width - indent, page)
    widths = [_width(column) for column in columns]
    keys = sum(column.key for column in columns)
    rule = page.sign("─") * (indent + _total(columns, widths))
    names, units = zip(*(_header(column) for column in columns), strict=True)
    heads = [names, units] if any(names) else [units]
    lines = [page.paint(_line(head, columns, widths, indent), "bold") for head in heads]
    lines.append(page.paint(rule, "dim"))
    for row in range(len(columns[0].cells) if columns else 0):
        if row in groups:
            lines.append(page.paint(_name(page.sign(groups[row]), page.width, page), "bold"))
        if total and row == len(columns[0].cells) - 1:
            lines.append(page.paint(rule, "dim"))
        cells = [column.cells[row] for column in columns]
        if row in spans:
            head = _line(cells[:keys], columns[:keys], widths[:keys], indent, strip=False) + " " * GAP
            text = page.sign(spans[row])
            lines.append(head + page.paint(_cut(text, page.width - display_width(head), page), styles.get(row)))
        else:
            lines.append(page.paint(_line(cells, columns, widths, indent), styles.get(row)))
    if page.widened_by and (left_out := _left_out(every, columns, ungrouped or aligned, page.widened_by)):
        lines.append(page.paint(page.wrap(left_out), "dim"))
    return "\n".join(lines)


def _left_out(every: Sequence[Column], shown: Sequence[Column], whole: Sequence[Column], option: str) -> str:
    """Name the columns that do not fit, with the width that shows them; empty if all do."""
    places = {(column.name, column.unit, column.cells) for column in shown}
    hidden = [c.heading for c in every if c.heading and not c.key and (c.name, c.unit, c.cells) not in places]
    if not hidden or len(shown) == len(every):
        return ""
    columns = _aligned(whole)
    width = _total(columns, [_width(column) for column in columns])
    return f"Not shown: {', '.join(dict.fromkeys(hidden))}. {option} {width} shows all."


def fits(columns: Sequence[Column], width: int, rank: int) -> bool:
    """Whether all columns up to a rank fit uncut."""
    shown = [column for column in _aligned(columns) if column.key or column.rank <= rank]
    return _total(shown, [_width(column) for column in shown]) <= width


def _aligned(columns: Sequence[Column]) -> list[Column]:
    """Make a separate column of the noise of figures, so that the ± are aligned."""
    aligned: list[Column] = []
    for column in columns:
        aligned.append(replace(column, noise=()))
        if column.noise:
            aligned.append(Column(name="", cells=column.noise, right=False, rank=column.rank, tight=True))
    return aligned


def _fitting(columns: Sequence[Column], width: int, page: Page) -> list[Column]:
    shown = [column for column in columns if column.key or column.rank == 0]
    for rank in sorted({column.rank for column in columns if column not in shown}):
        joined = [column for column in columns if column in shown or column.rank == rank]
        figures = [column for column in joined if column in shown or column.right]  # words may be wide, and go alone
        fitting = (some for some in (joined, figures) if _total(some, [_width(column) for column in some]) <= width)
        if (wider := next(fitting, None)) is None:
            break
        shown = wider
    widths = [_width(column) for column in shown]
    words = [index for index, column in enumerate(shown) if not column.right]
    while _total(shown, widths) > width and any(widths[index] > _NARROWEST for index in words):
        widths[max(words, key=lambda index: widths[index])] -= 1  # always the widest: two names share the loss
    return [
        replace(
            column,
            name=_name(column.name, room, page),
            unit=_name(column.unit, room, page),
            cells=tuple(_name(cell, room, page) for cell in column.cells),
        )
        if room < _width(column)
        else column
        for column, room in zip(shown, widths, strict=True)
    ]


def _blanked(column: Column, columns: Sequence[Column], groups: Mapping[int, str]) -> Column:
    """Blank a key that repeats the row above with all keys left of it; the last key is always shown."""
    keys = [other for other in columns if other.key]
    if not column.key or column is keys[-1]:
        return column
    upto = keys[: keys.index(column) + 1]
    cells = tuple(
        "" if row and row not in groups and all(k.cells[row] == k.cells[row - 1] for k in upto) else cell
        for row, cell in enumerate(column.cells)
    )
    return replace(column, cells=cells)


def _signed(column: Column, page: Page) -> Column:
    if page.unicode:
        return column
    return replace(
        column, name=page.sign(column.name), unit=page.sign(column.unit), cells=tuple(map(page.sign, column.cells))
    )


def _header(column: Column) -> tuple[str, str]:
    """Split a heading into two lines: the unit or, without one, the last word of a figure's name on the lower."""
    if column.unit:
        return column.name, column.unit
    upper, _, lower = column.name.rpartition(" ") if column.right else ("", "", column.name)
    return upper, lower


def _width(column: Column) -> int:
    return max(map(display_width, (*_header(column), *column.cells)))


def _total(columns: Sequence[Column], widths: Sequence[int]) -> int:
    return sum(widths) + sum(1 if column.tight else GAP for column in columns[1:])


def _cut(text: str, width: int, page: Page) -> str:
    cut = shorten(text, max(width, 1))
    return cut if page.unicode else shorten(text, max(width - 1, 1)).replace("…", "..") if cut != text else text


def _name(text: str, width: int, page: Page) -> str:
    """Cut a name in its middle; in ASCII the mark is `~`, because it must stay one column wide."""
    cut = shorten(text, width, middle=True)
    return cut if page.unicode or cut == text else cut.replace("…", "~")


def _line(
    cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int], indent: int, *, strip: bool = True
) -> str:
    line = " " * indent
    for index, (cell, column, width) in enumerate(zip(cells, columns, widths, strict=True)):
        gap = "" if index == 0 else " " if column.tight else " " * GAP
        pad = " " * (width - display_width(cell))
        line += gap + (pad + cell if column.right else cell + pad)
    return line.rstrip() if strip else line
