"""`bench gate`: the same to the bit 20 times while the machine is busy, and what it costs.

The default suite is counted 20 times under load, each cell in a fresh process, and compared with its own first count.
What a gate must see (an added layer, a batch, a layout round trip, foreach) is tested in `tests/cli/test_gate.py`.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.core.gate import GateVerdict
from bench.runner.ci.gate import check_gate, update_gate
from bench.store.expected import read_expected

RUNS = 20


@pytest.fixture
def load() -> Iterator[int]:
    """Keep as many processes busy as there are cores."""
    context = multiprocessing.get_context("spawn")
    busy = [context.Process(target=_burn, daemon=True) for _ in range(multiprocessing.cpu_count())]
    for process in busy:
        process.start()
    yield len(busy)
    for process in busy:
        process.kill()
        process.join()


def _burn() -> None:
    while True:
        sum(range(10_000))


@pytest.mark.thorough
def bench_bit_equal_under_load(load, tmp_path, benchmark, pytestconfig):
    update_gate(folder=tmp_path)
    rows = read_expected(tmp_path)
    operations = sum(len(row.dispatches) for row in rows)
    started = time.perf_counter()
    gates = [benchmark.pedantic(check_gate, kwargs={"folder": tmp_path}, rounds=1, iterations=1)]
    gates += [check_gate(folder=tmp_path) for _ in range(RUNS - 1)]
    seconds = (time.perf_counter() - started) / RUNS
    differing = sum(row.verdict is not GateVerdict.SAME for gate in gates for row in gate.rows)
    values = RUNS * sum(len(row.counters) + len(row.dispatches) for row in rows)
    benchmark.extra_info.update(runs=RUNS, cells=len(rows), values=values, differing_cells=differing, load=load)
    _say(
        pytestconfig,
        f"gate: {RUNS} runs under {load} busy processes: {len(rows)} cells, {operations} operation counts, "
        f"{values:,} values compared, {differing} cells differ; {seconds:.1f} s per run",
    )
    assert differing == 0


def bench_gate_of_this_repository(benchmark, pytestconfig):
    folder = Path("results") / "expected"
    gate = benchmark.pedantic(check_gate, kwargs={"folder": folder}, rounds=1, iterations=1)
    _say(pytestconfig, f"gate: results/expected, torch {gate.torch}: {len(gate.rows)} cells, open: {gate.is_open}")
    assert gate.is_open


def _say(pytestconfig: pytest.Config, text: str) -> None:
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{text}")
