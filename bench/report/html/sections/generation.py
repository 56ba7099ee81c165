"""Text that was generated: time to first token and per token, the cache, FLOPs per token beside the rules of thumb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.report.html.contract import ReportData, Section
from bench.tables.figures import first, words
from bench.tables.scenarios import generation_notes, generation_tables
from bench.tables.table import make_table

_MOST = 200


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Show the cases of all runs."""
    found = [one for run in data.runs for one in run.generations]
    measured, note = first(found, _MOST, "combinations")
    if not measured:
        return None
    tables = [make_table(columns, caption=caption) for caption, columns in generation_tables(measured)]
    return {"tables": tables, "notes": [*map(words, generation_notes(measured)), *([note] if note else [])]}


SECTION = Section(anchor="generation", title="Generating text", build=build)
