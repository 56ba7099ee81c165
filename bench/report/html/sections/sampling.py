"""Images that were sampled: seconds per image and per denoising step, what a step more costs, parts of the training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.report.html.contract import ReportData, Section
from bench.tables.figures import first, words
from bench.tables.scenarios import sampling_notes, sampling_tables
from bench.tables.table import make_table

_MOST = 200


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Show the cases of all runs."""
    found = [one for run in data.runs for one in run.images]
    measured, note = first(found, _MOST, "combinations")
    if not measured:
        return None
    tables = [
        make_table(columns, caption=caption, total=total) for caption, columns, total in sampling_tables(measured)
    ]
    return {"tables": tables, "notes": [*map(words, sampling_notes(measured)), *([note] if note else [])]}


SECTION = Section(anchor="sampling", title="Sampling images", build=build)
