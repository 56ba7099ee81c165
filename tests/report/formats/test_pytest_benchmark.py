from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.core.record import Phase
from bench.report.formats.pytest_benchmark import to_pytest_benchmark
from bench.runner.compare import read_run
from bench.runner.recorder import extra_info
from tests.report.formats.runs import RUN, UNMEASURED


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "0001_run.json"
    path.write_text(to_pytest_benchmark(RUN, extra_info))
    return path


@pytest.mark.slow
def test_pytest_benchmark_compare_reads_it(exported: Path) -> None:
    code = "from pytest_benchmark.cli import main; main()"
    other = exported.with_name("0002_run.json")  # pytest-benchmark fails on one file given twice
    other.write_text(exported.read_text())
    command = [sys.executable, "-c", code, "compare", str(exported), str(other), "--csv", "table.csv"]
    command += ["--columns", "min,median,rounds", "--sort", "name", "--group-by", "param:model"]
    done = subprocess.run(command, cwd=exported.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "benchmark 'model=my_net'" in done.stdout
    assert "my_net/train/b8/cpu/fp32" in done.stdout
    with (exported.parent / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    medians = {row["name"]: float(row["median"]) for row in rows}
    assert set(medians) == {one.record.cell.id for one in RUN.measured}
    for one in RUN.measured:
        assert medians[one.record.cell.id] == pytest.approx(np.median(one.steps), rel=1e-12)


def test_our_own_compare_finds_the_same_cells_in_it(exported: Path) -> None:
    run = read_run(str(exported), Path("results"))
    stored = {benchmark.cell.key: benchmark for benchmark in run.benchmarks if benchmark.cell}
    assert set(stored) == {one.record.cell.key for one in RUN.measured}
    for one in RUN.measured:
        assert run.environment == RUN.environment
        assert stored[one.record.cell.key].median_seconds == pytest.approx(np.median(one.steps))


def test_every_step_stands_in_it_and_the_figures_are_of_the_steps(exported: Path) -> None:
    benchmarks = json.loads(exported.read_text())["benchmarks"]
    for benchmark, one in zip(benchmarks, RUN.measured, strict=True):
        stats = benchmark["stats"]
        assert tuple(stats["data"]) == one.record.sample_seconds(Phase.STEP)
        assert stats["rounds"] == len(one.steps)
        assert stats["mean"] == pytest.approx(np.mean(one.steps))
        assert stats["stddev"] == pytest.approx(np.std(one.steps, ddof=1))
        assert stats["ops"] == pytest.approx(1 / np.mean(one.steps))


def test_doubts_are_carried_and_failed_cells_named_with_reasons(exported: Path) -> None:
    document = json.loads(exported.read_text())
    doubts = {b["name"]: b["extra_info"]["advice"] for b in document["benchmarks"]}
    assert doubts["mlp/train/b8/cpu/fp32"] == ["noisy-samples", "busy-machine"]
    missing = {one["cell_id"]: one["reason"] for one in document["stepbench"]["not_measured"]}
    assert set(missing) == UNMEASURED
    assert missing["mlp/train/b32/cpu/bf16-amp"] == "cpu without bfloat16 instructions"
    assert UNMEASURED.isdisjoint(doubts)
