"""A stored run as text for a terminal: readable in 80 columns, fuller in 200."""

from __future__ import annotations

from bench.report.formats import Asked, Format
from bench.store.stored import StoredRun
from bench.tables.claims import claims_document
from bench.tables.comparison import comparison_document
from bench.tables.document import Place, page_text
from bench.tables.run import cells_document
from bench.tables.scaling import ranks_document


def _write(run: StoredRun, asked: Asked) -> str:
    claims = claims_document(run.claims) if run.claims else ()
    document = [
        *cells_document(run.records, view=asked.view, run=str(run.folder)),
        *ranks_document(run.records),
        *claims,
        Place(text=f"Results: {run.folder}"),
    ]
    return page_text(document, asked.page) + "\n"


FORMAT = Format(
    write=_write,
    compare=lambda found, asked: page_text(comparison_document(found.comparisons, found.heading), asked.page) + "\n",
    holds_failures=True,
    holds_claims=True,
)
