from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, func, inspect, select, text

from bench.core.errors import NothingMeasuredError, StoreError
from bench.store.history.database import History, open_history, read_url
from bench.store.history.ingest import ingest
from bench.store.history.migrations import MIGRATIONS, VERSION, migrate, version_of
from bench.store.history.queries import STEP, find_series, read_rows
from bench.store.history.schema import metadata, records
from bench.store.runs import RunFolder, RunInfo
from tests.goldens import GOLDEN as GOLDENS
from tests.store.history.entries import CELL

GOLDEN = Path(__file__).parent / "history-schema-1.sqlite"
OLD_RUN = GOLDENS / "old-run"


def described(connection: Connection) -> dict[str, dict[str, tuple[str, bool]]]:
    """Every table of ours with its columns: kind of type, and whether it may be empty."""
    inspector = inspect(connection)
    return {
        table.name: {
            column["name"]: (_kind(column["type"]), column["nullable"]) for column in inspector.get_columns(table.name)
        }
        for table in metadata.sorted_tables
    }


def _kind(column_type: Any) -> str:
    names = {"Double": "float", "Float": "float", "BigInteger": "int", "Integer": "int", "UtcTime": "time"}
    known = [names.get(base.__name__, "") for base in type(column_type).__mro__]
    return next((name for name in known if name), type(column_type).__name__.lower().replace("timestamp", "time"))


def test_the_steps_make_the_tables_that_queries_see(history: History) -> None:
    with history.reading() as connection:
        found = described(connection)
        assert version_of(connection) == VERSION
    for table in metadata.sorted_tables:
        assert set(found[table.name]) == {column.name for column in table.columns}
        for column in table.columns:
            kind, nullable = found[table.name][column.name]
            assert nullable == column.nullable or column.primary_key, f"{table.name}.{column.name}"
            if _kind(column.type) in ("float", "int"):
                assert kind == _kind(column.type), f"{table.name}.{column.name}"


def test_every_version_up_to_now_has_a_step() -> None:
    assert list(MIGRATIONS) == list(range(1, VERSION + 1))


def test_a_file_of_schema_1_is_upgraded_with_all_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    shutil.copy(GOLDEN, path)
    with open_history(str(path)) as history, history.reading() as connection:
        assert version_of(connection) == VERSION
        (series,) = find_series(connection)
        rows = read_rows(connection, series, (STEP, "energy_joules"), 10)
        assert (series.name, series.count) == ("my_net/train/b8/cpu/fp32", 3)
        assert [row[STEP] for row in rows] == pytest.approx([0.010, 0.011, 0.012])
        assert [row["energy_joules"] for row in rows] == [None] * 3
        assert rows[0]["started_at"].isoformat() == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize("version", [2, 3])
def test_an_older_versions_run_continues_the_kept_history(tmp_path: Path, version: int) -> None:
    # The run, and the history of it, were written by stepbench of 23 November 2026, before the fingerprint knew
    # instruction sets; its fingerprint is that version's own. The history was upgraded to schema 3 on 29 November.
    history_file, run = tmp_path / "old.sqlite", tmp_path / "results" / "old"
    shutil.copy(GOLDEN.with_name(f"history-schema-{version}.sqlite"), history_file)
    shutil.copytree(OLD_RUN, run)
    records, problems = RunFolder.open(run).read_records()
    assert [(record.cell.id, record.environment.fingerprint) for record in records] == [(CELL.id, "4f3d697b0ab894a2")]
    assert problems == ()
    again = RunFolder.create(tmp_path / "results", RunInfo(started_at="2026-11-29T12:00:00+00:00"))
    again.append(replace(records[0], started_at="2026-11-29T12:00:00+00:00"))
    with open_history(str(history_file)) as history:
        ingested = ingest(history, (str(run), str(again.path)), results=tmp_path / "results")
        assert (ingested.known, ingested.added, ingested.problems) == (1, 1, ())
        with history.reading() as connection:
            (series,) = find_series(connection)
    assert (series.name, series.fingerprint, series.count) == (CELL.id, "4f3d697b0ab894a2", 2)


def test_tables_of_schema_1_are_upgraded_in_any_database(url: str) -> None:
    engine = create_engine(read_url(url)) if "://" in url else None
    if engine is None:
        Path(url).parent.mkdir()
        engine = create_engine(f"sqlite:///{url}")
    with engine.begin() as connection:
        assert migrate(connection, "here", to=1) == 0
        connection.execute(text("INSERT INTO stepbench_cells VALUES ('k', 'a cell', NULL)"))
    engine.dispose()
    with open_history(url) as history, history.reading() as connection:
        assert version_of(connection) == VERSION
        assert connection.execute(text("SELECT name FROM stepbench_cells")).scalar_one() == "a cell"
        assert connection.execute(select(func.count()).select_from(records)).scalar_one() == 0


def test_a_newer_history_is_refused_with_both_versions(url: str) -> None:
    with open_history(url, makes=True) as history, history.writing() as connection:
        connection.execute(text("UPDATE stepbench_schema SET version = 99"))
    for makes in (False, True):
        words = rf"has schema 99, this stepbench knows up to {VERSION}"
        with pytest.raises(StoreError, match=words), open_history(url, makes=makes):
            pass


def test_a_step_that_fails_leaves_no_half_of_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {**MIGRATIONS, 2: (MIGRATIONS[2][0], "CREATE TABLE nonsense (")}
    monkeypatch.setattr("bench.store.history.migrations.MIGRATIONS", broken)
    with pytest.raises(StoreError, match="cannot use the history"), open_history(url, makes=True):
        pass
    monkeypatch.undo()
    with pytest.raises(NothingMeasuredError, match="holds no history yet"), open_history(url):
        pass
    with open_history(url, makes=True) as history, history.reading() as connection:
        assert version_of(connection) == VERSION


def test_no_history_is_no_error_of_the_database(tmp_path: Path) -> None:
    words = r"there is no history at .*none\.sqlite"
    with pytest.raises(NothingMeasuredError, match=words) as caught, open_history(str(tmp_path / "none.sqlite")):
        pass
    assert caught.value.exit_code == 5
    assert not (tmp_path / "none.sqlite").exists()


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE photos (id INTEGER)"))
    engine.dispose()
    with pytest.raises(StoreError, match="is a database of something else"), open_history(str(path), makes=True):
        pass


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite"
    path.write_text("not a database, but long enough to look for a header in it\n" * 9)
    with pytest.raises(StoreError, match="file is not a database"), open_history(str(path)):
        pass
    with pytest.raises(StoreError, match="is a folder"), open_history(str(tmp_path)):
        pass
