"""How a step's time grows: a line along the batch, a power along sizes of models, each with its doubt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.report.html.contract import ReportData, Section
from bench.stats.scaling import scalings
from bench.tables.figures import first
from bench.tables.scaling import READING, chosen, scaling_columns, scaling_notes
from bench.tables.table import make_table

_MOST = 100
_CAPTIONS = {True: "Step time along the batch", False: "Step time along sizes of models"}


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Fit the groups of the newest run that has one of three sizes."""
    found = next((fits for run in reversed(data.runs) if (fits := scalings(run.records))), ())
    parts = []
    for is_batch in (True, False):
        rows, note = first(chosen(found, is_batch=is_batch), _MOST, "groups")
        if not rows:
            continue
        table = make_table(
            scaling_columns(rows, is_batch=is_batch),
            caption=_CAPTIONS[is_batch],
            marks={row: "doubt" for row, one in enumerate(rows) if one.reason},
        )
        notes = [*scaling_notes(rows), *([note] if note else [])]
        parts.append({"reading": READING[is_batch], "table": table, "notes": notes})
    return {"parts": parts} if parts else None


SECTION = Section(anchor="growth", title="How cost grows", build=build)
