"""Documents as HTML: the values of each block for the macro `document` of `macros.html`."""

from __future__ import annotations

from typing import Any

from bench.tables.document import Block, Document, Dots, Doubts, Heading, Notes, Place, Rows, Text, Verbatim, Verdict
from bench.tables.figures import first, name, words
from bench.tables.table import Page, make_table

_MOST_ROWS = 200
_PAGE = Page(width=100)
_TONES = {"red": "bad", "yellow": "doubt", "green": "good", "bold": "whole"}


def shown(document: Document) -> list[dict[str, Any]]:
    """Make plain values of each block, with its kind."""
    return [{"kind": type(block).__name__.lower(), **values} for block in document if (values := _values(block))]


def _values(block: Block) -> dict[str, Any]:
    match block:
        case Text():
            return {"text": words(block.text), "tone": _TONES.get(block.style or "", "")}
        case Notes():
            return {"lines": [words(line) for line in block.lines]} if block.lines else {}
        case Rows():
            columns = [column for column in block.columns if "html" not in column.hidden_in]
            marks = {row: _TONES[style] for row, style in block.styles.items() if style in _TONES}
            table = make_table(columns, caption=words(block.caption), marks=marks, total=block.total)
            return {"table": table, "folded": block.folded}
        case Dots():
            return _dots(block)
        case Doubts():
            return {"lines": [words(f"{mark}  {text}") for mark, text in block.sentences]}
        case Verbatim():
            return {"code": "\n".join(words(line.strip()) for line in block.drawn(_PAGE))}
        case Heading() | Verdict():
            return {"text": words(block.text)}
        case Place():
            return {}
    raise TypeError(f"a report has no words for {block!r}")


def _dots(plot: Dots) -> dict[str, Any]:
    rows, note = first(plot.rows, _MOST_ROWS, "cells")
    return {
        "caption": plot.caption,
        "ticks": [(plot.place(tick), f"{tick:g}") for tick in plot.ticks],
        "one": plot.place(1.0),
        "rows": [
            {
                "name": name(dot.name),
                "text": dot.text,
                "at": plot.place(dot.value),
                "low": None if dot.low is None else plot.place(dot.low),
                "high": None if dot.high is None else plot.place(dot.high),
                "tone": _TONES.get(dot.style or "", ""),
            }
            for dot in rows
        ],
        "note": note,
    }
