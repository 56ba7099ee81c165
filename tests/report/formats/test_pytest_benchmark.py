from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.core.record import Phase
from bench.core.text import plain
from bench.report.formats.pytest_benchmark import to_pytest_benchmark
from bench.runner.compare import read_run
from bench.runner.recorder import extra_info
from tests.report.formats.runs import HOSTILE, RUN, UNMEASURED, hostile_run


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "0001_run.json"
    path.write_text(to_pytest_benchmark(RUN, extra_info))
    return path


def compared(*files: Path) -> tuple[str, list[dict[str, str]]]:
    """Let pytest-benchmark compare files; return what it printed and its table."""
    code = "from pytest_benchmark.cli import main; main()"
    command = [sys.executable, "-c", code, "compare", *map(str, files), "--csv", "table.csv"]
    command += ["--columns", "min,median,rounds", "--sort", "name", "--group-by", "param:model"]
    done = subprocess.run(command, cwd=files[0].parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with (files[0].parent / "table.csv").open(newline="") as file:
        return done.stdout, list(csv.DictReader(file))


@pytest.mark.slow
def test_pytest_benchmark_compares_two_runs_with_every_value(exported: Path) -> None:
    slower = exported.with_name("0002_run.json")
    twice = tuple(
        replace(record, samples=tuple(replace(s, seconds=tuple(2 * x for x in s.seconds)) for s in record.samples))
        for record in RUN.records
    )
    slower.write_text(to_pytest_benchmark(replace(RUN, records=twice), extra_info))
    printed, rows = compared(exported, slower)
    assert "benchmark 'model=my_net'" in printed
    assert "my_net/train/b8/cpu/fp32" in printed and "0001_run" in printed and "0002_run" in printed
    for one in RUN.measured:
        mine = [row for row in rows if row["name"] == one.record.cell.id]
        assert sorted(float(row["median"]) for row in mine) == pytest.approx(
            [np.median(one.steps), 2 * np.median(one.steps)], rel=1e-12
        )
        assert {int(row["rounds"]) for row in mine} == {len(one.steps)}
        assert {row["param:batch_size"] for row in mine} == {str(one.record.cell.batch_size)}
    assert len(rows) == 2 * len(RUN.measured)


@pytest.mark.slow
def test_pytest_benchmark_reads_odd_names_which_command_nothing(tmp_path: Path) -> None:
    run = hostile_run()
    (one,) = run.measured
    file = tmp_path / "0001_run.json"
    file.write_text(to_pytest_benchmark(run, extra_info))
    printed, (row,) = compared(file)
    assert (row["name"], row["param:model"]) == (plain(one.record.cell.id), plain(HOSTILE))
    assert float(row["median"]) == pytest.approx(np.median(one.steps))
    assert not any(sign in printed for sign in ("\x1b", "\x00", "\u202e"))


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
