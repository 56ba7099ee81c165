"""How cells begin: build, first step, steps until steady, and after how many steps compiling has paid off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bench.report.html.contract import ReportData, Section
from bench.stats.cold import payback_of, start_of
from bench.stats.summary import summarise
from bench.tables.cells import figure_columns
from bench.tables.figures import first, name
from bench.tables.table import Column, make_table

_MOST = 100


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Show the cells whose beginning was measured; compiled ones first, for theirs is the question."""
    begun = [row.record for row in data.rows if start_of(row.record).build_seconds is not None]
    if not begun:
        return None
    begun.sort(key=lambda record: payback_of(record, data.records) is None)
    records, note = first(begun, _MOST, "cells")
    names = Column(name="cell", cells=tuple(name(record.cell.id) for record in records), right=False, key=True)
    figures = figure_columns(records, [summarise(record) for record in records], "cold", among=data.records)
    columns = [names, *(replace(column, rank=0) for column in figures)]
    return {"table": make_table(columns, caption="How each cell begins"), "notes": [note] if note else []}


SECTION = Section(anchor="start", title="Start: after how many steps has compiling paid off?", build=build)
