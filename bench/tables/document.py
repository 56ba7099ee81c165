"""Documents: text, tables, notes and doubts about a subject, in order; each format of `bench.report` writes any.

The rendering for a terminal, `page_text`, is here too, because every command answers with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.core.advice import Advice
from bench.tables.advice import loose_advice_sentences
from bench.tables.table import Column, Page, fits, render

Sentences = Sequence[tuple[str, str]]
"""Doubts in words: the letter and the sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One part of a document.

    Attributes:
        close: Follows the part before it without an empty line.
    """

    close: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading(Block):
    """A heading, already safe, in one line; level 1 is the title. Formats without headings write it as a line."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Block):
    """The answer in one line, already safe: first in a comment, last in a terminal, where it is seen."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Block):
    """A paragraph.

    Attributes:
        text: Already safe, in one line.
        style: Colour, if the page has colours; bold in Markdown too.
        indent: Indent of every line but the first.
    """

    text: str
    style: str | None = None
    indent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows(Block):
    """A table.

    Attributes:
        columns: Columns from left to right.
        caption: Subject of the table, for formats with captions.
        shows_caption: Whether every format shows the caption, because the columns alone are not clear.
        spans: Text in place of the figures, by row.
        styles: Colour by row.
        total: The last row is a sum.
        heads: Heading of each row's group. If a page is too narrow for the columns, each group gets a separate line
            with this text, and the first column is left out.
        folded: Formats that can fold show only the caption until the reader opens the table.
        essential: Columns up to this rank must fit, or there are groups.
    """

    columns: Sequence[Column]
    caption: str = ""
    shows_caption: bool = False
    spans: Mapping[int, str] = field(default_factory=dict)
    styles: Mapping[int, str | None] = field(default_factory=dict)
    total: bool = False
    heads: Sequence[str] = ()
    folded: bool = False
    essential: int = 0

    def shown_in(self, view: str) -> list[Column]:
        """Return the columns that a format does not hide."""
        return [column for column in self.columns if view not in column.hidden_in]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes(Block):
    """Sentences, each on a separate line.

    Attributes:
        lines: Already safe.
        first: Indent of the first line of each on a page.
        indent: Indent of its other lines.
        styles: Colour by line.
        marks: Drawing before each line, on pages only.
    """

    lines: Sequence[str]
    first: str = "  "
    indent: str = "    "
    marks: Sequence[str] = ()
    styles: Mapping[int, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verbatim(Block):
    """Lines that are never wrapped, because they are to be copied, or are a drawing.

    Attributes:
        lines: Already safe; or a function that draws them for a page.
        language: Language of the code, for formats that colour it.
    """

    lines: Sequence[str] | Callable[[Page], Sequence[str]]
    language: str = ""

    def drawn(self, page: Page) -> Sequence[str]:
        """Return the lines for a page."""
        return [page.sign(line) for line in self.lines(page)] if callable(self.lines) else self.lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(Block):
    """A path on this machine, never wrapped; formats that are read elsewhere leave it out."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts(Block):
    """Doubts in words."""

    sentences: Sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One ratio of a dot plot, with its interval.

    Attributes:
        text: The figure in words.
        style: Colour, if there are colours; `bold` is a sum of the others.
    """

    name: str
    text: str
    value: float
    low: float | None = None
    high: float | None = None
    style: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dots(Block):
    """A dot plot of ratios on a logarithmic axis, for formats with pictures; a table has the same figures.

    Attributes:
        ticks: Ratios with a line, from left to right; the first and the last end the axis.
    """

    caption: str
    rows: Sequence[Dot]
    ticks: Sequence[float]

    def place(self, value: float) -> float:
        """Return the position of a ratio in percent of the axis; ratios outside are placed at the edge."""
        low, high = math.log(self.ticks[0]), math.log(self.ticks[-1])
        return 100 * min(1.0, max(0.0, (math.log(value) - low) / (high - low)))


Document = Sequence[Block]


def doubts_of(advice: Sequence[Advice]) -> Doubts:
    """Describe doubts that belong to no record."""
    return Doubts(sentences=loose_advice_sentences(advice))


def spanned(rows: Rows, view: str) -> Sequence[Column]:
    """Write the text in place of a row's figures into the first of them, unless a column of this view has it."""
    columns = rows.shown_in(view)
    first = next((index for index, column in enumerate(columns) if not column.key), None)
    if first is None or not rows.spans or any("table" in column.hidden_in for column in columns):
        return columns
    column = columns[first]
    cells = tuple(rows.spans.get(row, cell) for row, cell in enumerate(column.cells))
    return [*columns[:first], replace(column, cells=cells), *columns[first + 1 :]]


def page_text(document: Document, page: Page) -> str:
    """Write a document for a terminal: an empty line between blocks unless they are close, the verdict last."""
    text = ""
    for block in sorted(document, key=lambda block: isinstance(block, Verdict | Place)):
        if written := _on_page(block, page):
            text += f"{'' if not text else chr(10) if block.close else chr(10) * 2}{written}"
    return text


def _on_page(block: Block, page: Page) -> str:
    match block:
        case Heading():
            return page.paint(page.wrap(block.text), "bold")
        case Text():
            return page.paint(page.wrap(block.text, block.indent, ""), block.style) if block.text else ""
        case Rows():
            table = _table(block, page)
            return f"{page.wrap(block.caption)}\n{table}" if block.shows_caption else table
        case Notes():
            lines = [*map(str.__add__, block.marks, block.lines)] if block.marks else block.lines
            wrapped = (page.wrap(line, block.indent, block.first) for line in lines)
            return "\n".join(page.paint(line, block.styles.get(row)) for row, line in enumerate(wrapped))
        case Verbatim():
            return "\n".join(block.drawn(page))
        case Verdict():
            return page.wrap(block.text)
        case Place():
            return block.text
        case Dots():
            return ""
        case Doubts():
            return "\n".join(page.wrap(sentence, "   ", f"{mark}  ") for mark, sentence in block.sentences)
    raise TypeError(f"no block of a document: {block!r}")


def _table(rows: Rows, page: Page) -> str:
    whole = rows.shown_in("table")
    columns, groups = whole, {}
    if rows.heads and not fits(columns, page.width, rows.essential):
        firsts = [row for row in range(len(rows.heads)) if row == 0 or rows.heads[row] != rows.heads[row - 1]]
        columns, groups = columns[1:], {row: rows.heads[row] for row in firsts}
    return render(columns, page, spans=rows.spans, styles=rows.styles, groups=groups, total=rows.total, ungrouped=whole)
