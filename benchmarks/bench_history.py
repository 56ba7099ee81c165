"""How fast a history is: ingest, query, nominate, report, prune; with a million records if asked.

STEPBENCH_HISTORY_RECORDS=1000000 pytest --benchmark-only benchmarks/bench_history.py

The default is 20,000. The records are made up (500 cells on 2 machines, AR(1) noise, and in every tenth cell a step of
10 % near the end); only reading record files is measured on real files. STEPBENCH_HISTORY names another database, for
example a PostgreSQL: its tables must be empty, and are left filled. Figures go to `extra_info` and to the terminal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.cell import Cell
from bench.core.record import Outcome, Phase, Record, Sample
from bench.report.html.sections.history import trend_page
from bench.store.history.database import History, open_history
from bench.store.history.ingest import add_entries, ingest
from bench.store.history.nominate import COLUMNS, nominate
from bench.store.history.prune import Limits, prune
from bench.store.history.queries import STEP, find_series, read_rows, read_trend
from bench.store.history.schema import MEASURED
from bench.store.history.sources import Entry
from bench.store.runs import RunFolder, RunInfo
from bench.tables.document import page_text
from bench.tables.history import trends_document
from bench.tables.table import Page

COUNT = int(os.environ.get("STEPBENCH_HISTORY_RECORDS", "20000"))
CELLS, MACHINES = 500, 2
FILES = 300
BATCH = 2000
LAST = 60
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    where = os.environ.get("STEPBENCH_HISTORY") or str(tmp_path_factory.mktemp("history") / "history.sqlite")
    with open_history(where, makes=True) as opened:
        yield opened


def made_up(count: int, cells: int = CELLS, machines: int = MACHINES) -> Iterator[Entry]:
    """Make entries run by run: a run measures every cell on one machine at one commit."""
    rng = np.random.default_rng(0)
    named = [Cell(model=f"net_{index // 4}", batch_size=8 * (index % 4 + 1)) for index in range(cells)]
    cell_rows = [{"key": c.key, "name": c.id, "axes": {"model": c.model, "batch_size": c.batch_size}} for c in named]
    levels = 10 ** rng.uniform(-3, 0, cells)
    moods = np.zeros((machines, cells))
    nothing: dict[str, Any] = dict.fromkeys(MEASURED)
    runs = -(-count // cells)
    step_at = runs - min(runs * 3 // 10, 60 * machines)
    for run in range(runs):
        machine = run % machines
        moods[machine] = 0.6 * moods[machine] + 0.02 * rng.standard_normal(cells)
        stepped = np.where((np.arange(cells) % 10 == 0) & (run >= step_at), 1.1, 1.0)
        seconds = (levels * stepped * np.exp(moods[machine])).tolist()
        started_at = BEGIN + timedelta(hours=3 * run)
        commit = f"{run:08x}" * 5
        row = {"id": f"made-up-{run:06}", "kind": "stepbench", "started_at": started_at}
        row |= {"path": f"/results/{run}", "written_by": "bench_history"}
        where = {"fingerprint": f"{machine:016x}", "machine": f"machine {machine}", "fields": {"cpu": str(machine)}}
        for index in range(min(cells, count - run * cells)):
            step = seconds[index]
            yield Entry(
                run=row,
                cell=cell_rows[index],
                environment=where,
                record={
                    **nothing,
                    "digest": f"{run:016x}{index:016x}",
                    "run_id": row["id"],
                    "cell_key": named[index].key,
                    "fingerprint": where["fingerprint"],
                    "started_at": started_at,
                    "git_commit": commit,
                    "git_dirty": False,
                    "code": None,
                    "outcome": "ok",
                    "reason": None,
                    "path": f"/results/{run}/records/{named[index].key}.json",
                    STEP: step,
                    "step_low_seconds": step * 0.99,
                    "step_high_seconds": step * 1.01,
                    "step_n": 100,
                    "step_n_effective": 20.0,
                    "parameters": 1_000_000 + index,
                    "flops_forward": 10_000_000 * (index + 1),
                    "dispatch_count": 141,
                },
            )


def bench_ingest_of_rows(history, benchmark, pytestconfig):
    """Rows that are ready into the tables; the time to make them up is left out."""

    def fill():
        seconds, added, batch = 0.0, 0, []
        for entry in made_up(COUNT):
            batch.append(entry)
            if len(batch) == BATCH:
                start = time.perf_counter()
                added += add_entries(history, batch)
                seconds += time.perf_counter() - start
                batch = []
        start = time.perf_counter()
        added += add_entries(history, batch)
        return added, seconds + time.perf_counter() - start

    added, seconds = benchmark.pedantic(fill, rounds=1, iterations=1)
    benchmark.extra_info.update(records=added, records_per_second=added / seconds)
    size = Path(history.where).stat().st_size / added if Path(history.where).is_file() else None
    words = f", {size:.0f} bytes each on disk" if size else ""
    _say(pytestconfig, f"ingest: {added:,} rows in {seconds:.1f} s = {added / seconds:,.0f} rows/s{words}")
    assert added == COUNT


def bench_ingest_of_files(benchmark, tmp_path, pytestconfig):
    """Record files with 200 steps of five phases: read, understood, summarised and inserted; then known already."""
    rng = np.random.default_rng(1)
    folder = RunFolder.create(tmp_path, RunInfo(started_at=BEGIN.isoformat()))
    for index in range(FILES):
        folder.append(_record(index, rng))

    def both():
        with open_history(str(tmp_path / "history.sqlite"), makes=True) as history:
            start = time.perf_counter()
            first = ingest(history, results=tmp_path)
            middle = time.perf_counter()
            again = ingest(history, results=tmp_path)
        assert (first.added, again.known) == (FILES, FILES)
        return middle - start, time.perf_counter() - middle

    new, known = benchmark.pedantic(both, rounds=1, iterations=1)
    benchmark.extra_info.update(new_files_per_second=FILES / new, known_files_per_second=FILES / known)
    _say(pytestconfig, f"record files: {FILES / new:,.0f} new ones/s, {FILES / known:,.0f} known ones/s")


def bench_trend_of_one_cell(history, benchmark, pytestconfig):
    with history.reading() as connection:
        series = find_series(connection)[CELLS // 2]

        def question():
            return read_trend(connection, series, STEP, LAST, accepted=(), descendants=None)

        trend = benchmark.pedantic(question, rounds=50, iterations=1, warmup_rounds=3)
    assert len(trend.points) == min(LAST, trend.count)
    _say(pytestconfig, f"newest {LAST} points of one series: {benchmark.stats.stats.median * 1e3:.2f} ms")


def bench_list_of_all_series(history, benchmark, pytestconfig):
    with history.reading() as connection:
        found = benchmark.pedantic(find_series, (connection,), rounds=3, iterations=1)
    assert sum(series.count for series in found) == COUNT
    _say(pytestconfig, f"list of {len(found):,} series: {benchmark.stats.stats.median:.2f} s")


def bench_nomination_of_all_series(history, benchmark, pytestconfig):
    """What `bench history nominate` does: 120 points of every series."""

    def all_of_them():
        with history.reading() as connection:
            found = find_series(connection)
            rows = ((series, read_rows(connection, series, COLUMNS, 120)) for series in found)
            return found, [nominated for series, newest in rows for nominated in nominate(series, newest)]

    found, nominations = benchmark.pedantic(all_of_them, rounds=1, iterations=1)
    stepped = {f"net_{index // 4}/train/b{8 * (index % 4 + 1)}/cpu/fp32" for index in range(0, CELLS, 10)}
    right = sum(n.cell_id in stepped for n in nominations)
    wrong = len({(n.cell_id, n.fingerprint) for n in nominations if n.cell_id not in stepped})
    quiet = sum(series.name not in stepped for series in found)
    benchmark.extra_info.update(series=len(found), right=right, wrong=wrong)
    seconds = benchmark.stats.stats.median
    _say(
        pytestconfig,
        f"nominate: {len(found):,} series in {seconds:.1f} s ({seconds / len(found) * 1e3:.1f} ms each); "
        f"{right} in stepped cells, {wrong} of {quiet} others nominated",
    )


def bench_reports_of_all_series(history, benchmark, pytestconfig):
    """What `bench history show -o trend.html` does: table and page of every series."""

    def reports():
        start = time.perf_counter()
        with history.reading() as connection:
            trends = [
                read_trend(connection, series, STEP, LAST, accepted=(), descendants=None)
                for series in find_series(connection)
            ]
        read = time.perf_counter()
        page_text(trends_document(trends), Page())
        tabled = time.perf_counter()
        page = trend_page(trends)
        return read - start, tabled - read, time.perf_counter() - tabled, len(trends), len(page)

    read, table, page, count, size = benchmark.pedantic(reports, rounds=1, iterations=1)
    benchmark.extra_info.update(read_seconds=read, table_seconds=table, page_seconds=page, page_bytes=size)
    _say(
        pytestconfig,
        f"show: {count:,} series read in {read:.1f} s, table {table:.2f} s, page {page:.1f} s, {size / 1e6:.1f} MB",
    )


def bench_prune(history, benchmark, pytestconfig):
    """Plan and do: the older half goes."""
    with history.reading() as connection:
        newest = max(series.newest_at for series in find_series(connection))
    half = Limits(older_than_seconds=(newest - BEGIN).total_seconds() / 2)

    def both():
        start = time.perf_counter()
        plan = prune(history, half, now=newest)
        middle = time.perf_counter()
        done = prune(history, half, now=newest, does=True)
        assert plan.records == done.records
        return done.records, middle - start, time.perf_counter() - middle

    records, planned, done = benchmark.pedantic(both, rounds=1, iterations=1)
    benchmark.extra_info.update(records=records, plan_seconds=planned, prune_seconds=done)
    _say(pytestconfig, f"prune: {records:,} of {COUNT:,} records planned in {planned:.1f} s, taken out in {done:.1f} s")
    assert records == pytest.approx(COUNT / 2, rel=0.1)


def _record(index: int, rng: np.random.Generator) -> Record:
    samples = tuple(
        Sample(phase=phase, seconds=tuple((0.01 * rng.lognormal(0, 0.05, 200)).tolist()), converged=True)
        for phase in Phase
    )
    return Record(
        cell=Cell(model=f"file_{index}", batch_size=8),
        outcome=Outcome.OK,
        samples=samples,
        started_at=BEGIN.isoformat(),
        duration_seconds=1.0,
        stepbench="0",
    )


def _say(pytestconfig: pytest.Config, text: str) -> None:
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{text}")
