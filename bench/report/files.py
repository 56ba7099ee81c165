"""Tidy tables of a run by pandas: `cells`, `phases`, `layers`, `claims` and `scaling`, as CSV and Parquet.

A training has `epochs` and `classes`, runs of `bench generate` and `bench images` have `generations` and `images`.

None becomes NA in nullable types and an empty field in CSV; never 0. In CSV a text is one printable line, and one that
a spreadsheet would run as a formula (it begins with = + - @) gets a leading apostrophe; Parquet holds it unchanged.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.claim import CheckedClaim
from bench.core.errors import StoreError
from bench.core.record import Record
from bench.core.text import plain
from bench.stats.scaling import scalings
from bench.store.atomic import make_folder, write_bytes
from bench.store.runs import RunFolder
from bench.tables.catalog import CASE_COLUMNS, COLUMNS, TRAINING_COLUMNS
from bench.tables.cell_values import cell_rows
from bench.tables.columns import TableColumn
from bench.tables.parts import layer_rows, phase_rows
from bench.tables.training import class_rows, epoch_rows

_ROWS: dict[str, Callable[[tuple[Any, ...]], Sequence[Any]]] = {
    "cells": cell_rows,
    "phases": phase_rows,
    "layers": layer_rows,
    "claims": list,
    "scaling": scalings,
    "epochs": epoch_rows,
    "classes": class_rows,
    "generations": list,
    "images": list,
}
"""Makes the rows of each table."""
_FORMULA_STARTS = ("=", "+", "-", "@")


def to_frame(records: Sequence[Record] | Sequence[CheckedClaim], table: str = "cells") -> pd.DataFrame:
    """Make a table with one row per observation; columns, units and types as `COLUMNS` lists them.

    Args:
        records: Records; for the table `claims`, CheckedClaims.
        table: `cells` (one row per record, whatever its outcome), `phases` (per cell, phase and process), `layers`
            (per cell and layer), `claims` or `scaling` (per group of cells that differ in one size).

    Raises:
        StoreError: There is no such table.
    """
    if table not in COLUMNS:
        raise StoreError(f"no table named {table!r}; the tables are {', '.join(COLUMNS)}")
    return frame_of(table, records)


def frame_of(table: str, source: Sequence[Any]) -> pd.DataFrame:
    """Make any table of the catalog of records, claims, trainings or cases, whichever it is of."""
    rows = _ROWS[table](tuple(source))
    columns = (COLUMNS | TRAINING_COLUMNS | CASE_COLUMNS)[table]
    return pd.DataFrame({column.name: _series([_plain(column.get(row)) for row in rows], column) for column in columns})


def _series(values: list[Any], column: TableColumn) -> pd.Series:
    """Make a column; whole numbers become real ones if one exceeds 64 bits, as a sum of two large ones can."""
    is_beyond = column.dtype == "Int64" and any(value is not None and abs(value) >= 2**63 for value in values)
    return pd.Series(values, dtype="Float64" if is_beyond else column.dtype)


def write_tables(folder: RunFolder, sources: Mapping[str, Sequence[Any]]) -> tuple[Path, ...]:
    """Write tables of a run into `tables/`, of what each is made of, each file atomically; return the paths.

    Raises:
        StoreError: A file cannot be written.
    """
    make_folder(folder.tables_path)
    written = []
    for table, source in sources.items():
        frame = frame_of(table, source)
        for name, data in ((f"{table}.csv", to_csv(frame)), (f"{table}.parquet", _to_parquet(frame))):
            write_bytes(folder.tables_path / name, data)
            written.append(folder.tables_path / name)
    return tuple(written)


def to_csv(frame: pd.DataFrame) -> bytes:
    """Write a table as CSV in UTF-8, safe to open in a spreadsheet."""
    safe = frame.copy()
    for name in safe.columns[safe.dtypes == "string"]:
        safe[name] = safe[name].map(_defuse, na_action="ignore").astype("string")
    return str(safe.to_csv(index=False, lineterminator="\n")).encode()


def _to_parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()


def _defuse(text: str) -> str:
    line = plain(text)
    return f"'{line}" if line.startswith(_FORMULA_STARTS) else line


def _plain(value: Any) -> Any:
    """Turn an enum into its value, and a text with broken characters into one that UTF-8 can hold."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value
