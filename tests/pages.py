"""Documents as a terminal and as a comment show them."""

from __future__ import annotations

from bench.report.formats.markdown import write_document
from bench.tables.document import Document, page_text
from bench.tables.table import Page

as_markdown = write_document


def on_page(document: Document, width: int = 80, *, color: bool = False, unicode: bool = True) -> str:
    """Write a document for a terminal of this width."""
    return page_text(document, Page(width=width, color=color, unicode=unicode))
