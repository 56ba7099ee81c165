"""What it costs to give every cell processes of its own: beside the timed steps, against spawned ones, and in a sweep.

Ratios inside one run; figures go to pytest-benchmark's `extra_info` and to the terminal.

As many tiny cells through optimum-benchmark, the way it documents (its command line, a process per cell, memory and
latency), are measured where `STEPBENCH_PEER` names its executable; `STEPBENCH_PEER_CELLS` (48) takes fewer:

    python -m venv peer && peer/bin/pip install optimum-benchmark==0.6.0 "transformers<5"
    STEPBENCH_PEER=peer/bin/optimum-benchmark pytest --benchmark-only benchmarks/bench_isolation.py -k tiny
"""

import itertools
import os
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from bench.core.cell import Cell, Mode
from bench.core.record import Outcome, Sampling
from bench.runner import processes
from bench.runner.doctor import NULL_MODEL, measure_overhead
from bench.runner.session import Session, execute

GOAL_SECONDS = 0.4
GOAL_RATIO = 10
REPETITIONS = 5
SWEEP_BUDGET_SECONDS = 0.05


def _say(capsys, text):
    with capsys.disabled():
        print(f"\n{text}", end="")


@pytest.mark.thorough
def bench_isolated_cell_beyond_its_measuring(benchmark, capsys):
    """A cell of a null model from its start to its record on disk, forked from the server against spawned."""
    processes.call("bench.runner.workers.cells:nothing")  # starts the server

    def measure():
        return [measure_overhead() for _ in range(REPETITIONS)], measure_overhead("spawn")

    forked, spawned = benchmark.pedantic(measure, rounds=1, iterations=1)
    count, rest = (
        statistics.median(getattr(one, f"{part}_seconds") for one in forked) for part in ("count", "measure")
    )
    total = statistics.median(one.total_seconds for one in forked)
    ratio = spawned.total_seconds / total
    benchmark.extra_info.update(
        count_seconds=count, measure_seconds=rest, total_seconds=total, spawned_seconds=spawned.total_seconds
    )
    _say(
        capsys,
        f"isolated cell beside its steps {total:.3f} s (counting {count:.3f}, timing, memory and record {rest:.3f}); "
        f"spawned {spawned.total_seconds:.2f} s: {ratio:.0f} times cheaper; "
        f"goal under {GOAL_SECONDS} s and {GOAL_RATIO} times",
    )
    assert total < GOAL_SECONDS
    assert ratio >= GOAL_RATIO


@pytest.mark.thorough
def bench_48_tiny_cells_end_to_end(benchmark, capsys, tmp_path):
    """A whole sweep of tiny models: preflight, counts, times, memory, tables."""
    cells = tuple(
        Cell(model=model, mode=mode, batch_size=batch_size, threads=1)
        for model in (NULL_MODEL, "mlp@width=16", "mlp@width=32")
        for mode in Mode
        for batch_size in range(1, 9)
    )
    session = Session(sweeps=(), sampling=Sampling(budget_seconds=SWEEP_BUDGET_SECONDS), planned=cells)

    def sweep():
        start = time.perf_counter()
        finished = execute(session, results=tmp_path)
        return time.perf_counter() - start, finished.records

    seconds, records = benchmark.pedantic(sweep, rounds=1, iterations=1)
    assert [record.outcome for record in records] == [Outcome.OK] * 48
    steps = sum(sum(s.seconds) + sum(s.warmup_seconds) for record in records for s in record.samples)
    benchmark.extra_info.update(total_seconds=seconds, step_seconds=steps, cells=len(records))
    _say(
        capsys,
        f"48 tiny cells end to end {seconds:.1f} s, {seconds / 48:.2f} s each, of which {steps / 48:.2f} s are steps "
        f"(budget {SWEEP_BUDGET_SECONDS} s each)",
    )


PEER_MODEL = """
import sys, transformers
sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=100)
config = transformers.BertConfig(max_position_embeddings=64, **sizes)
transformers.BertForSequenceClassification(config).save_pretrained(sys.argv[1])
"""
PEER_CONFIG = """
defaults: [benchmark, scenario: {scenario}, launcher: process, backend: pytorch, _self_]
name: tiny
launcher: {{start_method: spawn}}
scenario: {{memory: true, latency: true, {sizes}}}
backend:
  {{device: cpu, library: transformers, task: text-classification,
   model: {model}, processor: {model}}}
hydra: {{run: {{dir: {folder}}}, job: {{chdir: true}}}}
"""
PEER_SIZES = {
    "training": "max_steps: 25, warmup_steps: 5, training_arguments: {{per_device_train_batch_size: {batch}}}",
    "inference": "warmup_runs: 5, iterations: 20, duration: 0, "
    "input_shapes: {{batch_size: {batch}, sequence_length: 8}}",
}


@pytest.mark.skipif("STEPBENCH_PEER" not in os.environ, reason="STEPBENCH_PEER names no optimum-benchmark to run")
def bench_tiny_cells_through_optimum_benchmark(benchmark, capsys, tmp_path):
    """Tiny cells, training and inference, each a call of the peer's command line; a cell without a report fails."""
    model = tmp_path / "model"
    python = Path(os.environ["STEPBENCH_PEER"]).with_name("python")
    subprocess.run([python, "-c", PEER_MODEL, model], check=True, capture_output=True)
    kinds = itertools.cycle((kind, batch) for batch in range(1, 9) for kind in PEER_SIZES)
    cells = list(itertools.islice(kinds, int(os.environ.get("STEPBENCH_PEER_CELLS", "48"))))

    def sweep():
        start = time.perf_counter()
        for index, (kind, batch) in enumerate(cells):
            folder = tmp_path / f"cell{index}"
            sizes = PEER_SIZES[kind].format(batch=batch)
            config = PEER_CONFIG.format(scenario=kind, sizes=sizes, model=model, folder=folder)
            (tmp_path / "cell.yaml").write_text(config)
            command = [os.environ["STEPBENCH_PEER"], "--config-dir", str(tmp_path), "--config-name", "cell"]
            environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
            done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert (folder / "benchmark_report.json").is_file(), done.stdout[-2000:] + done.stderr[-2000:]
        return time.perf_counter() - start

    seconds = benchmark.pedantic(sweep, rounds=1, iterations=1)
    benchmark.extra_info.update(total_seconds=seconds, cells=len(cells))
    _say(
        capsys, f"{len(cells)} tiny cells through optimum-benchmark {seconds:.0f} s, {seconds / len(cells):.1f} s each"
    )
