"""A report of several runs begins with this: each run beside the first, as `bench compare` says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.report.html.contract import ReportData, Section
from bench.report.html.documents import shown
from bench.tables.nominations import nominations_document


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Show the document of each pair of runs."""
    return {"documents": [shown(nominations_document(pair)) for pair in data.nominated]} if data.nominated else None


SECTION = Section(anchor="comparison", title="Comparison", build=build)
