"""The same tables as Markdown, for pull requests and `tables/summary.md`; everything from outside is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.report.formats import Asked, Format
from bench.store.stored import StoredRun
from bench.tables.comparison import comparison_document
from bench.tables.document import (
    Block,
    Document,
    Dots,
    Doubts,
    Heading,
    Notes,
    Place,
    Rows,
    Text,
    Verbatim,
    Verdict,
    spanned,
)
from bench.tables.figures import plain
from bench.tables.table import Column, Page

_WIDTH = 100
"""Width of drawings, in characters."""

_SPECIAL = re.compile(r"([\\`*\[\]|~$#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")  # my_net needs no backslash
_MENTION_OR_MAIL = re.compile(r"(?<![A-Za-z0-9_])@(?=[A-Za-z0-9])|@(?=[A-Za-z0-9_-]+\.[A-Za-z0-9])")
_REFERENCE = re.compile(r"(#|\bGH-)(?=[0-9])", re.IGNORECASE)
_COMMIT = re.compile(r"\b(?=[0-9]*[a-f])[0-9a-f]{7,40}\b")
_GAP = "\u200b"
"""Zero-width space. An entity or a backslash is gone when GitHub looks for mentions and references; this stays."""


def escape(text: str) -> str:
    """Escape a text for Markdown: no markup, no HTML, no mention, no new line, no end of a table cell."""
    text = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _REFERENCE.sub(rf"\1{_GAP}", _MENTION_OR_MAIL.sub(f"@{_GAP}", text))
    text = re.sub(r"\bwww\.", f"www{_GAP}.", text, flags=re.IGNORECASE)
    text = _COMMIT.sub(r"`\g<0>`", _SPECIAL.sub(r"\\\1", text))
    return text.replace("@", "&#64;").replace("://", "&#58;//")


def table(columns: Sequence[Column]) -> str:
    """Write columns as a Markdown table; noise follows its figure."""
    lines = [
        "| " + " | ".join(escape(column.heading) for column in columns) + " |",
        "|" + "|".join("---:" if column.right else "---" for column in columns) + "|",
    ]
    rows = zip(*(column.texts for column in columns), strict=True)
    return "\n".join([*lines, *("| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows)])


def write_document(document: Document) -> str:
    """Write any document: headings, paragraphs, tables, lists, code."""
    return "\n\n".join(text for block in document if (text := _block(block)))


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {escape(block.text)}"
        case Verdict():
            return f"### {escape(block.text)}"
        case Text():
            text = escape(block.text.strip())
            return f"**{text}**" if text and block.style == "bold" else text
        case Rows():
            return (f"## {escape(block.caption)}\n\n" if block.caption else "") + table(spanned(block, "markdown"))
        case Notes():
            return "\n".join(f"- {escape(line)}" for line in block.lines)
        case Verbatim():
            return _code(block.drawn(Page(width=_WIDTH)), block.language)
        case Doubts():
            return "\n".join(f"- **{mark}** {escape(sentence)}" for mark, sentence in block.sentences)
        case Place() | Dots():
            return ""
    raise TypeError(f"no block of a document: {block!r}")


def _code(lines: Sequence[str], language: str) -> str:
    """Write lines as a block of code, whose fence is longer than any in it."""
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}{language}", *lines, fence]) if lines else ""


def _write(run: StoredRun, asked: Asked) -> str:
    from bench.report.comment import run_comment

    return run_comment(run.records, run.claims, run.environment, view=asked.view)


FORMAT = Format(
    write=_write,
    compare=lambda found, _: write_document(comparison_document(found.comparisons, found.heading)) + "\n",
    holds_failures=True,
    holds_claims=True,
)
