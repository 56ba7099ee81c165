"""What it costs to give every cell processes of its own: beside the timed steps, against spawned ones, and in a sweep.

Ratios inside one run; figures go to pytest-benchmark's `extra_info` and to the terminal.
"""

import statistics
import time

from bench.core.cell import Cell, Mode
from bench.core.record import Outcome, Sampling
from bench.runner import processes
from bench.runner.overhead import NULL_MODEL, measure_overhead
from bench.runner.session import Session, execute

GOAL_SECONDS = 0.4
GOAL_RATIO = 10
REPETITIONS = 7
SWEEP_BUDGET_SECONDS = 0.05


def _say(capsys, text):
    with capsys.disabled():
        print(f"\n{text}", end="")


def bench_isolated_cell_beyond_its_measuring(benchmark, capsys):
    """A cell of a null model from its start to its record on disk, forked from the server against spawned."""
    processes.call("bench.runner.worker:nothing")  # starts the server

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
