"""Text that was generated: time to first token and per token, the cache, FLOPs per token beside the rules of thumb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.core.generation import Generation
from bench.report.html.contract import ReportData, Section
from bench.tables.figures import first, words
from bench.tables.scenarios import generation_notes, generation_tables
from bench.tables.table import make_table

EXTRA = "generation"
"""Key in `RunData.extras` of a tuple of `Generation`."""

_MOST = 200


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Show the cases of all runs."""
    found: list[Generation] = [one for run in data.runs for one in run.extras.get(EXTRA, ())]
    measured, note = first(found, _MOST, "combinations")
    if not measured:
        return None
    tables = [make_table(columns, caption=caption) for caption, columns in generation_tables(measured)]
    return {"tables": tables, "notes": [*map(words, generation_notes(measured)), *([note] if note else [])]}


SECTION = Section(anchor="generation", title="Generating text", build=build)
