"""What the engine itself costs: split against whole steps, whole steps against a bare loop, `--help` against nothing.

Ratios inside one run; figures go to pytest-benchmark's `extra_info` and to the terminal.
"""

import os
import statistics
import subprocess
import sys
import time

import pytest

from bench import registry
from bench.core.cell import Cell
from bench.core.record import Phase, Sampling
from bench.device.prepare import prepare
from bench.measure.blocks import without_garbage_collection
from bench.measure.timing import time_step

PAIRS = 12  # three times as many where a block holds several steps
CELLS = (
    Cell(model="my_net", batch_size=8),
    pytest.param(Cell(model="walkthrough_cnn", batch_size=8), marks=pytest.mark.thorough),
    Cell(model="mlp", batch_size=32),
)
GAP_LIMIT_SECONDS = 0.005
"""The goal for the phases holds for steps longer than this."""


def _say(capsys, text):
    with capsys.disabled():
        print(f"\n{text}", end="")


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.id)
def bench_phases_add_up_to_the_step(cell, benchmark, capsys):
    with prepare(registry.resolve(cell.model), cell) as step:
        timing = benchmark.pedantic(
            time_step, (step, "cpu", Sampling(budget_seconds=2.0, target=0.005)), rounds=1, iterations=1
        )
    medians = {sample.phase: statistics.median(sample.seconds) for sample in timing.samples}
    whole = medians.pop(Phase.STEP)
    gap = sum(medians.values()) / whole - 1
    benchmark.extra_info.update(step_seconds=whole, phase_sum_over_step_minus_1=gap)
    _say(capsys, f"{cell.id}: step {whole * 1e3:.3f} ms, phases sum to {gap:+.2%} of it")
    if whole > GAP_LIMIT_SECONDS:
        assert abs(gap) < 0.05


@pytest.mark.thorough
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.id)
def bench_whole_step_against_a_bare_loop(cell, benchmark, capsys):
    """Alternate the engine's step with a loop written by hand on the same model, batch and optimizer."""
    workload = registry.resolve(cell.model)
    with prepare(workload, cell) as step:
        model, (inputs, targets), loss, optimizer = step.model, step.batch, workload.loss, step.optimizer
        assert optimizer is not None

        def bare(count):
            start = time.perf_counter()
            for _ in range(count):
                loss(model(*inputs), targets).backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)  # last, as the engine has it: freeing memory is paid by both
            return (time.perf_counter() - start) / count

        def engine(count):
            start = time.perf_counter()
            for _ in range(count):
                step()
            return (time.perf_counter() - start) / count

        def alternate():
            warm = bare(5)
            count = max(1, round(0.05 / warm))
            pairs = []
            for index in range(PAIRS if count == 1 else 3 * PAIRS):  # ABBA, so that drift cancels
                first, second = (bare, engine) if index % 2 else (engine, bare)
                values = {first: first(count), second: second(count)}
                pairs.append(values[engine] / values[bare])
            return statistics.median(pairs)

        with without_garbage_collection():
            ratio = benchmark.pedantic(alternate, rounds=1, iterations=1)
    benchmark.extra_info.update(engine_over_bare_loop=ratio)
    _say(capsys, f"{cell.id}: engine's step / bare loop = {ratio:.4f}")
    assert abs(ratio - 1) < 0.03


def bench_help_against_bare_python(benchmark, capsys):
    """CPU seconds of `bench --help` beside `python -c pass`, best of ten each, in alternation."""

    def run(*arguments):
        process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
        _, process.returncode, usage = os.wait4(process.pid, 0)
        assert process.returncode == 0
        return usage.ru_utime + usage.ru_stime

    def alternate():
        times = [(run("-m", "bench", "--help"), run("-c", "pass")) for _ in range(10)]
        return tuple(min(column) for column in zip(*times, strict=True))

    ours, bare = benchmark.pedantic(alternate, rounds=1, iterations=1)
    benchmark.extra_info.update(help_seconds=ours, bare_python_seconds=bare, help_ratio=ours / bare)
    _say(
        capsys,
        f"bench --help {ours * 1e3:.0f} ms, {ours / bare:.1f} times python -c pass, {(ours - bare) * 1e3:+.0f} ms",
    )
    assert ours - bare < 0.15


@pytest.mark.thorough
def bench_fresh_process_against_a_spawned_one(benchmark, capsys):
    """What isolation costs: a call that does nothing, forked from the server against a new interpreter."""
    from bench.runner import processes

    def call(method):
        start = time.perf_counter()
        processes.call("bench.runner.workers.cells:nothing", method=method)
        return time.perf_counter() - start

    call("forkserver")  # starts the server
    forked, spawned = benchmark.pedantic(
        lambda: (statistics.median(call("forkserver") for _ in range(9)), call("spawn")), rounds=1, iterations=1
    )
    benchmark.extra_info.update(forked_seconds=forked, spawned_seconds=spawned)
    _say(capsys, f"fresh process {forked:.3f} s, spawned {spawned:.2f} s: {spawned / forked:.0f} times cheaper")
