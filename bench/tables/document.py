"""What is said of a subject, once: text, tables, notes and doubts in order; each format of `bench.report` writes any.

The terminal's own rendering, `page_text`, stands here too, because every command answers with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.core.record import Advice
from bench.tables.advice import loose_advice_text
from bench.tables.table import Column, Page, render


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A paragraph.

    Attributes:
        text: Already safe, in one line.
        style: Colour where there are colours.
    """

    text: str
    style: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A table.

    Attributes:
        columns: From left to right.
        caption: Says what it is, where a format has captions.
        shows_caption: Everywhere, because the columns alone do not say it.
        spans: By row, the text instead of figures.
        styles: By row, its colour.
        total: The last row is a sum.
    """

    columns: Sequence[Column]
    caption: str = ""
    shows_caption: bool = False
    spans: Mapping[int, str] = field(default_factory=dict)
    styles: Mapping[int, str | None] = field(default_factory=dict)
    total: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """Sentences, each on a line of its own.

    Attributes:
        lines: Already safe.
        first: Indent of the first line of each on a page.
        indent: Indent of its other lines.
    """

    lines: Sequence[str]
    first: str = "  "
    indent: str = "    "


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """Doubts that belong to no record."""

    advice: Sequence[Advice]


Block = Text | Rows | Notes | Doubts
Document = Sequence[Block]


def page_text(document: Document, page: Page) -> str:
    """Write a document for a terminal: its blocks with an empty line between them."""
    return "\n\n".join(text for block in document if (text := _on_page(block, page)))


def _on_page(block: Block, page: Page) -> str:
    match block:
        case Text():
            return page.paint(page.wrap(block.text), block.style)
        case Rows():
            table = render(block.columns, page, spans=block.spans, styles=block.styles, total=block.total)
            return f"{page.wrap(block.caption)}\n{table}" if block.shows_caption else table
        case Notes():
            return "\n".join(page.wrap(line, block.indent, block.first) for line in block.lines)
        case Doubts():
            return loose_advice_text(block.advice, page)
