"""Every column of every table: its name, type, unit, meaning, and how it is read from a Record.

The tables and `results/README.md` are both made from this list, so they cannot drift apart. No pandas here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.tables.cell_values import cell_rows
from bench.tables.cells import CELLS
from bench.tables.claims import CLAIMS
from bench.tables.columns import TableColumn, stored
from bench.tables.parts import LAYERS, PHASES
from bench.tables.scaling import SCALING
from bench.tables.tails import GENERATIONS, IMAGES
from bench.tables.training import CLASSES, EPOCHS

COLUMNS: dict[str, tuple[TableColumn, ...]] = {
    "cells": stored(CELLS),
    "phases": stored(PHASES),
    "layers": stored(LAYERS),
    "claims": stored(CLAIMS),
    "scaling": stored(SCALING),
}
"""Every table of a run of cells with its columns, in order."""

TRAINING_COLUMNS: dict[str, tuple[TableColumn, ...]] = {"epochs": EPOCHS, "classes": CLASSES}
"""Every table of a training."""

CASE_COLUMNS: dict[str, tuple[TableColumn, ...]] = {"generations": stored(GENERATIONS), "images": stored(IMAGES)}
"""Every table of `bench generate` and `bench images`."""


def figures_of(field: str, results: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the numbers of each result's row in its table, by column; None if not measured.

    Args:
        field: Name of the results in a stored run: `records`, `generations` or `images`.
        results: The results.
    """
    is_cells = field == "records"
    rows = cell_rows(tuple(results)) if is_cells else results
    columns = [c for c in (COLUMNS["cells"] if is_cells else CASE_COLUMNS[field]) if c.dtype != "string"]
    return [{column.name: column.get(row) for column in columns} for row in rows]


def describe_columns() -> str:
    """Write the columns of every table as Markdown, for `results/README.md`."""
    parts = []
    for table, columns in (COLUMNS | TRAINING_COLUMNS | CASE_COLUMNS).items():
        rows = [f"| `{c.name}` | {c.dtype} | {c.unit or '-'} | {c.meaning} |" for c in columns]
        parts.append("\n".join([f"### {table}", "", "| column | type | unit | meaning |", "|---|---|---|---|", *rows]))
    return "\n\n".join(parts)
