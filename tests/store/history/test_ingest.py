from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from bench.core.cell import Cell
from bench.core.errors import StoreError
from bench.core.jsonio import to_json
from bench.core.progress import listening
from bench.core.record import SCHEMA, Outcome
from bench.runner.recorder import extra_info
from bench.stats.summary import summarise
from bench.store.history import ingest as ingesting
from bench.store.history import schema
from bench.store.history.database import History, open_history
from bench.store.history.ingest import add_entries, ingest
from bench.store.history.queries import STEP, find_series, read_rows
from bench.store.history.sources import clean
from bench.store.runs import RunFolder
from tests.records import ENVIRONMENT
from tests.store.history.entries import at, entries, record_of, store_run

TABLES = ("records", "cells", "environments", "runs")


def counts(history: History) -> tuple[int, ...]:
    with history.reading() as connection:
        return tuple(
            connection.execute(text(f"SELECT count(*) FROM stepbench_{table}")).scalar_one() for table in TABLES
        )


def test_a_run_ingested_twice_and_its_copy_are_one(history: History, tmp_path: Path) -> None:
    path = store_run(tmp_path / "results", record_of(0), record_of(0, "mlp"))
    first = ingest(history, results=tmp_path / "results")
    assert (first.sources, first.added, first.known, first.problems) == (1, 2, 0, ())
    assert counts(history) == (2, 2, 1, 1)
    shutil.copytree(path, tmp_path / "elsewhere" / path.name)
    again = ingest(history, [str(path), str(tmp_path / "elsewhere"), path.name], results=tmp_path / "results")
    assert (again.added, again.known, again.problems) == (0, 4, ())
    assert counts(history) == (2, 2, 1, 1)


def test_a_record_file_that_was_only_formatted_anew_is_the_same(history: History, tmp_path: Path) -> None:
    path = store_run(tmp_path, record_of(0))
    ingest(history, results=tmp_path)
    (file,) = (path / "records").iterdir()
    file.write_text(json.dumps(json.loads(file.read_text()), sort_keys=True))
    assert ingest(history, results=tmp_path).added == 0


def test_a_row_holds_what_the_record_says(history: History, tmp_path: Path) -> None:
    record = record_of(3, processes=3)
    path = store_run(tmp_path, record)
    ingest(history, results=tmp_path)
    with history.reading() as connection:
        row = connection.execute(text("SELECT * FROM stepbench_records")).mappings().one()
        run = connection.execute(text("SELECT * FROM stepbench_runs")).mappings().one()
        (series,) = find_series(connection)
        (read,) = read_rows(connection, series, (STEP,), 10)
    summary = summarise(record)
    assert summary.step is not None
    assert row["step_median_seconds"] == summary.step.point
    assert (row["step_low_seconds"], row["step_high_seconds"]) == (summary.step.low, summary.step.high)
    assert (row["step_n"], row["step_n_effective"], row["step_processes"]) == (24, 3.0, 3)
    assert row["parameters"] == 9_547_360
    assert row["flops_backward"] == 3_800_000_000
    assert (row["git_commit"], bool(row["git_dirty"])) == (f"{3:08x}" * 5, False)
    assert row["energy_joules"] is None
    assert Path(row["path"]) == (path / "records" / f"{record.cell.key}.json").resolve()
    assert Path(run["path"]) == path.resolve()
    assert read["started_at"].isoformat() == record.started_at == "2026-01-04T00:00:00+00:00"
    assert series.cell == record.cell
    assert series.fingerprint == ENVIRONMENT.fingerprint


def test_a_cell_that_failed_is_a_row_with_its_reason(history: History, tmp_path: Path) -> None:
    reason = "half \ud800 a pair, a \x00 and a megabyte " + "x" * 1_000_000
    record = replace(record_of(0, step=None), outcome=Outcome.OUT_OF_MEMORY, reason=reason)
    store_run(tmp_path, record)
    assert ingest(history, results=tmp_path).problems == ()
    with history.reading() as connection:
        row = connection.execute(text("SELECT outcome, reason, step_n FROM stepbench_records")).one()
    assert row.outcome == "out_of_memory"
    assert row.reason.startswith(r"half \ud800 a pair, a \x00 and a megabyte xxx")
    assert len(row.reason) < 600
    assert row.step_n is None


def test_what_cannot_be_read_is_named_and_the_others_are_in(history: History, tmp_path: Path) -> None:
    results = tmp_path / "results"
    good = store_run(results, record_of(0), record_of(0, "mlp"))
    first, second = sorted((good / "records").iterdir())
    first.write_bytes(first.read_bytes()[:100])
    newer = json.loads(second.read_text()) | {"schema": SCHEMA + 1}
    (good / "records" / "newer.json").write_text(json.dumps(newer))
    (good / "records" / "foreign.json").write_text('{"schema": 1, "song": "x"}')
    broken = store_run(results, record_of(1))
    (broken / "run.json").write_text("{")
    (tmp_path / "notes.json").write_text("[1, 2]")
    done = ingest(history, [str(results), str(tmp_path / "notes.json"), "nowhere"], results=results)
    assert (done.added, done.sources) == (1, 3)
    words = " | ".join(done.problems)
    for part in (
        first.name,
        f"newer.json has schema {SCHEMA + 1}",
        "foreign.json",
        "run.json",
        "notes.json",
        "nowhere",
    ):
        assert part in words
    assert len(done.problems) == 6
    assert not any("\n" in problem for problem in done.problems)


def test_a_folder_without_runs_is_a_problem(history: History, tmp_path: Path) -> None:
    assert "holds none" in ingest(history, [str(tmp_path)], results=tmp_path).problems[0]


def session(path: Path, *benchmarks: dict[str, Any], **changes: Any) -> Path:
    document = {
        "machine_info": {"node": "ci-7", "machine": "x86_64", "python_version": "3.11.9", "cpu": {"brand_raw": "Chip"}},
        "commit_info": {"id": "ab" * 20, "dirty": False, "branch": "main"},
        "benchmarks": list(benchmarks),
        "datetime": "2026-02-03T04:05:06.789000+00:00",
        "version": "5.1.0",
    }
    path.write_text(json.dumps({**document, **changes}))
    return path


def benchmark(name: str = "test_x.py::test_sort", median: float = 0.002, **stats: Any) -> dict[str, Any]:
    return {"name": name, "fullname": name, "extra_info": {}, "stats": {"median": median, **stats}}


# What each line of pytest-benchmark writes, as far as we read it.
VERSIONS: dict[str, dict[str, Any]] = {
    "3.4": {
        "version": "3.4.1",
        "datetime": "2026-02-03T04:05:06.789000",
        "commit_info": {"id": "ab" * 20, "dirty": False},
    },
    "4.0": {"version": "4.0.0", "datetime": "2026-02-03T04:05:06.789000"},
    "5.1": {},
}


@pytest.mark.parametrize("changes", VERSIONS.values(), ids=VERSIONS)
def test_files_of_every_line_of_pytest_benchmark_are_read(
    changes: dict[str, Any], history: History, tmp_path: Path
) -> None:
    data = [0.002 + 0.0001 * (index % 7) for index in range(20)]
    file = session(tmp_path / "x.json", benchmark(), benchmark("test_x.py::test_more", 0.0023, data=data), **changes)
    assert ingest(history, [str(file)]).added == 2
    assert ingest(history, [str(file)]).added == 0
    with history.reading() as connection:
        more, sort = find_series(connection)
        (row,) = read_rows(connection, sort, (STEP, "step_n"), 9)
        (with_data,) = read_rows(connection, more, (STEP, "step_n", "step_low_seconds"), 9)
    assert (sort.name, sort.cell) == ("test_x.py::test_sort", None)
    assert sort.machine == "Chip, Python 3.11.9"
    assert (row[STEP], row["step_n"], row["git_commit"]) == (0.002, None, "ab" * 20)
    assert row["started_at"].isoformat() == "2026-02-03T04:05:06.789000+00:00"
    assert with_data["step_n"] == 20
    assert 0.002 <= with_data["step_low_seconds"] <= 0.0023


def test_hosts_of_one_kind_are_one_machine_but_other_pythons_are_not(history: History, tmp_path: Path) -> None:
    machine = {"node": "ci-7", "machine": "x86_64", "python_version": "3.11.9", "cpu": {"brand_raw": "Chip"}}
    session(tmp_path / "a.json", benchmark(), machine_info=machine)
    session(tmp_path / "b.json", benchmark(), machine_info={**machine, "node": "ci-8"}, datetime="2026-02-04T00:00:00")
    session(tmp_path / "c.json", benchmark(), machine_info={**machine, "python_version": "3.12.1"})
    ingest(history, [str(tmp_path / name) for name in ("a.json", "b.json", "c.json")])
    with history.reading() as connection:
        assert sorted(series.count for series in find_series(connection)) == [1, 2]


def test_a_file_that_does_not_say_when_is_a_problem(history: History, tmp_path: Path) -> None:
    (problem,) = ingest(history, [str(session(tmp_path / "x.json", benchmark(), datetime=None))]).problems
    assert "x.json does not say when it was measured" in problem


def test_a_measurement_of_bench_cell_is_the_record_it_left(history: History, tmp_path: Path) -> None:
    record = record_of(0)
    store_run(tmp_path / "results", record)
    extra = json.loads(json.dumps(extra_info(record)))
    told = {"environment": to_json(at(0)), "fingerprint": ENVIRONMENT.fingerprint}
    file = session(tmp_path / "x.json", {**benchmark(), "extra_info": extra}, machine_info={"stepbench": told})
    assert ingest(history, results=tmp_path / "results").added == 1
    assert ingest(history, [str(file)]).known == 1
    with open_history(str(tmp_path / "other.sqlite"), makes=True) as other:
        assert ingest(other, [str(file)]).added == 1
        with other.reading() as connection:
            (series,) = find_series(connection)
            (row,) = read_rows(connection, series, ("parameters", "flops_forward"), 9)
    assert (series.cell, series.fingerprint) == (record.cell, ENVIRONMENT.fingerprint)
    assert (row["parameters"], row["flops_forward"]) == (9_547_360, 2_000_000_000)


def test_many_files_are_read_side_by_side_and_end_as_the_same_rows(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(3):
        store_run(tmp_path / "results", *(record_of(day, f"net_{index}") for index in range(20)))
    broken = next((tmp_path / "results").glob("*/records/*.json"))
    broken.write_text("{")
    with open_history(str(tmp_path / "alone.sqlite"), makes=True) as alone:
        expected = ingest(alone, results=tmp_path / "results")
        rows = rows_of(alone)
    monkeypatch.setattr(ingesting, "_MANY", 1)
    monkeypatch.setattr(ingesting, "_cores", lambda: 3)
    assert ingest(history, results=tmp_path / "results") == replace(expected, where=history.where)
    assert rows_of(history) == rows
    assert (expected.added, len(expected.problems)) == (59, 1)
    again = ingest(history, results=tmp_path / "results")
    assert (again.added, again.known) == (0, 59)
    assert not multiprocessing.active_children()


def test_the_death_of_a_process_that_reads_is_one_line(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_run(tmp_path, *(record_of(0, f"net_{index}") for index in range(9)))
    parent = os.getpid()
    monkeypatch.setattr(ingesting, "_MANY", 1)
    monkeypatch.setattr(ingesting, "_cores", lambda: 2)
    monkeypatch.setattr(ingesting, "list_source", lambda *_: os.kill(os.getpid(), 9) if os.getpid() != parent else [])
    with pytest.raises(StoreError, match=r"a process that read records died \(exit code -9\)"):
        ingest(history, results=tmp_path)
    assert not multiprocessing.active_children()


def test_the_death_of_a_process_that_waits_for_an_answer_is_the_same_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_run(tmp_path, record_of(0), record_of(1, "mlp"))
    monkeypatch.setattr(ingesting, "_MANY", 1)
    monkeypatch.setattr(ingesting, "_cores", lambda: 2)

    def kill_all(_: Sequence[str]) -> set[str]:
        for child in multiprocessing.active_children():
            child.kill()
            child.join()
        return set()

    with pytest.raises(StoreError, match=r"a process that read records died \(exit code -9\)"):
        list(ingesting.read_sources(list(tmp_path.iterdir()), kill_all))


def rows_of(history: History) -> list[tuple[Any, ...]]:
    with history.reading() as connection:
        columns = [column for column in schema.records.c if column.name != "id"]
        return sorted(map(tuple, connection.execute(select(*columns).order_by(schema.records.c.digest))), key=repr)


def test_several_processes_ingest_the_same_runs_into_a_new_history_at_once(url: str, tmp_path: Path) -> None:
    for day in range(8):
        store_run(tmp_path / "results", record_of(day), record_of(day, "mlp"))
    command = [sys.executable, "-m", "bench", "history", "ingest", "--format", "json", "--history", url]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    options: dict[str, Any] = {"cwd": tmp_path, "env": environment, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, **options) for _ in range(2)]
    done = [json.loads(process.communicate()[0])["ingested"] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert sum(one["added"] for one in done) == 16
    assert all(one["added"] + one["known"] == 16 for one in done)
    with open_history(url) as history:
        assert counts(history) == (16, 2, 1, 8)


def test_two_who_insert_the_same_rows_wait_for_each_other(history: History) -> None:
    made = entries(5)
    assert add_entries(history, made) == 5
    assert add_entries(history, [*reversed(made), *entries(6)]) == 1
    assert add_entries(history, []) == 0


def test_progress_counts_every_source(history: History, tmp_path: Path) -> None:
    for day in range(3):
        store_run(tmp_path, record_of(day))
    heard: list[tuple[str, int, int | None]] = []
    with listening(lambda *values: heard.append(values)):
        ingest(history, results=tmp_path)
    assert heard == [("reading", done, 3) for done in range(4)]


def test_only_what_no_database_takes_is_rewritten() -> None:
    assert clean("µ ± “x” \U0001f600 \t") == "µ ± “x” \U0001f600 \t"
    assert clean("\x00\udc80") == r"\x00\udc80"


def test_a_run_that_is_not_finished_is_ingested_as_far_as_it_is(history: History, tmp_path: Path) -> None:
    path = store_run(tmp_path, record_of(0))
    ingest(history, results=tmp_path)
    RunFolder.open(path).append(replace(record_of(0, "mlp"), cell=Cell(model="mlp", batch_size=64)))
    assert ingest(history, results=tmp_path).added == 1


def test_a_history_that_cannot_be_written_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)  # root may write anywhere
    with pytest.raises(StoreError, match=r"no permission for .*; name a file with --history"):
        open_history(str(tmp_path / "h.sqlite"), makes=True).__enter__()
