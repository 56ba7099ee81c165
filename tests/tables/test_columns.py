from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.tables.catalog import COLUMNS as OF_CELLS
from bench.tables.catalog import TRAINING_COLUMNS, describe_columns
from bench.tables.columns import TableColumn as Column
from tests.goldens import check_file

COLUMNS = OF_CELLS | TRAINING_COLUMNS
README = Path(__file__).parents[2] / "results" / "README.md"
BEGIN, END = "<!-- columns: begin (made from bench/tables/catalog.py) -->\n", "<!-- columns: end -->\n"
_UNIT_OF_SUFFIX = {"_per_second": "/s", "_seconds": "s", "_bytes": "bytes", "_joules": "J", "_fraction": "fraction"}
ALL = [pytest.param(column, id=f"{table}.{column.name}") for table, columns in COLUMNS.items() for column in columns]


@pytest.mark.parametrize("table", COLUMNS)
def test_column_names_are_unique_and_tidy(table: str) -> None:
    names = [column.name for column in COLUMNS[table]]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)


@pytest.mark.parametrize("column", ALL)
def test_every_figure_has_the_unit_its_name_says(column: Column) -> None:
    assert column.meaning
    unit = next((unit for suffix, unit in _UNIT_OF_SUFFIX.items() if column.name.endswith(suffix)), "")
    assert column.unit.endswith(unit)
    if column.dtype == "Float64" and column.name not in {"final_loss"}:
        assert column.unit


def test_the_readme_names_every_column_and_its_unit() -> None:
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    check_file(README, before + BEGIN + "\n" + describe_columns() + "\n\n" + END + after)
    text = README.read_text(encoding="utf-8")
    for table, columns in COLUMNS.items():
        assert f"### {table}" in text
        assert all(f"| `{column.name}` | {column.dtype} | {column.unit or '-'} |" in text for column in columns)
