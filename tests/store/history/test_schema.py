from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from sqlalchemy.dialects import postgresql, sqlite

from bench.store.history.schema import MEASURED, UtcTime, metadata, records
from bench.tables.cells import CELLS

README = (Path(__file__).parents[3] / "results" / "README.md").read_text(encoding="utf-8")


def test_measured_columns_are_those_of_the_cells_table() -> None:
    assert set(MEASURED) <= {column.name for column in CELLS}


def test_every_table_and_column_is_in_the_readme() -> None:
    section = README.partition("## history.sqlite")[2]
    for table in metadata.sorted_tables:
        assert f"`{table.name}`" in section
    others = {column.name for column in records.columns} - {"id"}
    assert not [name for name in sorted(others) if f"`{name}`" not in section]


def test_a_moment_of_any_zone_comes_back_in_utc() -> None:
    moment = datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=2)))
    column = UtcTime()
    for dialect in (sqlite.dialect(), postgresql.dialect()):
        stored = column.process_bind_param(moment, dialect)
        assert column.process_result_value(stored, dialect) == moment
        assert column.process_result_value(stored, dialect).tzinfo is UTC  # type: ignore[union-attr]
        assert column.process_bind_param(None, dialect) is column.process_result_value(None, dialect) is None
