"""One of the run's tables as CSV, safe to open in a spreadsheet."""

from __future__ import annotations

from bench.report.formats import Asked, Format
from bench.store.stored import StoredRun


def _write(run: StoredRun, asked: Asked) -> str:
    from bench.report.files import to_csv, to_frame  # loads pandas

    return to_csv(to_frame(run.claims if asked.table == "claims" else run.records, asked.table)).decode()


FORMAT = Format(write=_write, holds_failures=True, holds_claims=True)
