"""Every column of every table: its name, type, unit, meaning, and how it is read from a Record.

The tables and `results/README.md` are both made from this list, so they cannot drift apart. No pandas here.
"""

from __future__ import annotations

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


def describe_columns() -> str:
    """Write the columns of every table as Markdown, for `results/README.md`."""
    parts = []
    for table, columns in (COLUMNS | TRAINING_COLUMNS | CASE_COLUMNS).items():
        rows = [f"| `{c.name}` | {c.dtype} | {c.unit or '-'} | {c.meaning} |" for c in columns]
        parts.append("\n".join([f"### {table}", "", "| column | type | unit | meaning |", "|---|---|---|---|", *rows]))
    return "\n\n".join(parts)
