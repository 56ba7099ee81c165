"""What each layer adds: parameters, output shape, FLOPs, bytes; one table per model, for one cell of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bench.core.record import Record
from bench.report.html.contract import ReportData, Section
from bench.tables.figures import count_of, first, name
from bench.tables.parts import layer_columns
from bench.tables.table import Column, Table, make_table

_MOST_MODELS = 16
_MOST_LAYERS = 150


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Show each model once: its first cell in which layers were counted."""
    records: dict[str, Record] = {}
    for record in data.records:
        if record.counters.layers:
            records.setdefault(record.cell.model, record)
    shown, note = first(list(records.values()), _MOST_MODELS, "models")
    if not shown:
        return None
    return {
        "models": [
            {
                "name": name(record.cell.model),
                "about": f"{count_of(len(record.counters.layers), 'module')}, counted for {name(record.cell.id)}",
                "table": _table(record),
                "is_cut": len(record.counters.layers) > _MOST_LAYERS,
            }
            for record in shown
        ],
        "most": _MOST_LAYERS,
        "notes": [note] if note else [],
    }


SECTION = Section(anchor="layers", title="Layers", build=build)


def _table(record: Record) -> Table:
    columns = [_bounded(column) for column in layer_columns(record)]
    return make_table(columns, caption=f"Layers of {name(record.cell.model)}", total=True)


def _bounded(column: Column) -> Column:
    """Keep the first rows and the sum, which is of all."""
    if len(column.cells) <= _MOST_LAYERS + 1:
        return column
    return replace(column, cells=(*column.cells[:_MOST_LAYERS], column.cells[-1]))
