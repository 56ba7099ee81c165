"""What stepbench does with very many cells, by its own commands: seconds of a clock and of CPU, and peak memory.

    pytest --benchmark-only -m thorough benchmarks/bench_limits.py

Records are made by hand, with 40 steps of five phases, as `bench run` leaves of a model of some milliseconds. The goals
are those of two quiet cores on which `import torch` takes two seconds of CPU; here the same import is timed, and each
goal grows with it where it takes longer. The figures go to `extra_info` and to the terminal.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bench.core.cell import Cell
from bench.core.jsonio import to_json
from bench.core.record import Counters, LayerCount, Memory, Phase, Sample
from bench.store.runs import RunFolder, RunInfo
from benchmarks.bench_report import ENVIRONMENT, SHARES, STEPS, _record

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(3600)]

PLANNED, REPORTED, MEASURED = 100_000, 10_000, 300
INGESTED = int(os.environ.get("STEPBENCH_INGESTED_FILES", "100000"))
RUN_SIZE = 1000
IMPORT_SECONDS = 2.0
SUITE = """[[sweep]]
model = ["mlp"]
batch_size = {sizes}
seed = {seeds}
"""


def bench_planning(benchmark, tmp_path, pytestconfig):
    suite = tmp_path / "suite.toml"
    suite.write_text(SUITE.format(sizes=list(range(1, 101)), seeds=list(range(PLANNED // 100))))
    used = benchmark.pedantic(lambda: _run(tmp_path, "run", suite, "--dry-run"), rounds=1, iterations=1)
    _say(benchmark, pytestconfig, f"{PLANNED:,} cells planned", used, limit=5)


def bench_report(benchmark, tmp_path, pytestconfig):
    _store(tmp_path, range(REPORTED))
    run = ("report", "latest", "--results", tmp_path, "-o", tmp_path / "page.html")
    used = benchmark.pedantic(lambda: _run(tmp_path, *run), rounds=1, iterations=1)
    _say(benchmark, pytestconfig, f"report of {REPORTED:,} cells", used, limit=10)
    assert used[2] <= 500e6


def bench_ingest(benchmark, tmp_path, pytestconfig):
    for start in range(0, INGESTED, RUN_SIZE):
        _store(tmp_path, range(start, start + RUN_SIZE))
    run = ("history", "ingest", "--results", tmp_path, "--history", tmp_path / "history.sqlite")
    used = benchmark.pedantic(lambda: _run(tmp_path, *run), rounds=1, iterations=1)
    _say(benchmark, pytestconfig, f"{INGESTED:,} records ingested", used, limit=60 * INGESTED / 100_000, cores=2)
    assert f"{INGESTED} new records" in (tmp_path / "output.txt").read_text().replace(",", "")


def bench_memory_of_a_run(benchmark, tmp_path, pytestconfig):
    """The parent's resident set from the tenth cell to the last: it holds every record for the tables."""
    command = [sys.executable, "-m", "benchmarks.bench_limits", tmp_path]
    environment = {**os.environ, "STEPBENCH_CACHE": str(tmp_path)}

    def run():
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        return json.loads(done.stdout)

    growth = benchmark.pedantic(run, rounds=1, iterations=1)
    benchmark.extra_info.update(parent_growth_bytes=growth)
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{MEASURED} cells in one run: the parent grew by {growth / 1e6:.1f} MB")
    assert growth < 20e6


def _store(results: Path, numbers: range) -> None:
    """Write a run of made-up records."""
    made = [replace(_record(number % REPORTED), started_at=_moment(number)) for number in numbers]
    folder = RunFolder.create(
        results, RunInfo(started_at=_moment(numbers.start), environment=ENVIRONMENT, cells=tuple(r.cell for r in made))
    )
    folder.records_path.mkdir(exist_ok=True)
    for record in made:
        path = folder.records_path / f"{record.cell.key}.json"
        path.write_text(json.dumps(to_json(record), indent=1) + "\n")  # without fsync, which would take an hour


def _moment(number: int) -> str:
    return f"2026-11-{1 + number // 10_000:02}T{number // 500 % 20:02}:{number // 60 % 60:02}:{number % 60:02}+00:00"


def _run(folder: Path, *arguments: object) -> tuple[float, float, float]:
    """Run the command; return seconds of a clock, of CPU with its children's, and its own peak in bytes."""
    return _timed(folder, "-m", "bench", *map(str, arguments))


def _timed(folder: Path, *arguments: str) -> tuple[float, float, float]:
    started = time.perf_counter()
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)  # else it is taken for running
    assert status == 0, (folder / "output.txt").read_text()[-2000:]
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


@functools.cache
def _import_seconds(folder: Path) -> float:
    """CPU seconds of `import torch`, which say how fast this machine is today; the quicker of two."""
    return min(_timed(folder, "-c", "import torch")[1] for _ in range(2))


def _say(benchmark, pytestconfig, what, used, limit, cores=1):
    """Print the figures, and hold the seconds against the goal: of a clock, or of CPU where others use it, too."""
    seconds, cpu, peak = used
    imports = _import_seconds(Path(tempfile.gettempdir()))
    goal = limit * max(1.0, imports / IMPORT_SECONDS)
    benchmark.extra_info[what] = {"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": peak, "import_torch": imports}
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(
            f"\n{what}: {seconds:.1f} s ({cpu:.1f} s of CPU), {peak / 1e6:.0f} MB; the goal is {limit:g} s, "
            f"here {goal:.1f} s, since importing torch takes {imports:.1f} s of CPU"
        )
    assert min(seconds, cpu / cores) <= goal


# What `bench_memory_of_a_run` measures with, in place of `bench.runner.workers.cells`.


def count_cell(cell: Cell, *_: object):
    from bench.runner.workers.answers import Counted

    layers = tuple(LayerCount(name=f"layers.{index}", type="Linear", parameters=cell.seed) for index in range(100))
    return Counted(counters=Counters(parameters=cell.seed, layers=layers), advice=())


def time_cell(cell: Cell, *_: object):
    from bench.runner.workers.answers import TimedCell

    return TimedCell(samples=tuple(_samples(cell.seed)))


def measure_peak(cell: Cell, *_: object) -> Memory:
    return Memory(peak_resident_bytes=1000 + cell.seed)


def _samples(seed: int) -> Iterator[Sample]:
    for phase in (Phase.STEP, *(phase for phase in SHARES if phase is not Phase.STEP)):
        yield Sample(phase=phase, seconds=tuple(1e-3 * (1 + (seed * step % 97) / 1e4) for step in range(5 * STEPS)))


def measure(results: Path) -> None:
    """Run the cells and print by how many bytes this process grew between the tenth and the last."""
    from bench.runner import processes
    from bench.runner.events import CellFinished
    from bench.runner.executor import LocalExecutor
    from bench.runner.session import run_cells

    sizes = []

    def weigh(event):
        if isinstance(event, CellFinished):
            sizes.append(psutil.Process().memory_info().rss)

    worker = "benchmarks.bench_limits"
    processes._preloaded[:] = [worker]
    cells = tuple(Cell(model="mlp", batch_size=8, seed=seed) for seed in range(MEASURED))
    folder = RunFolder.create(results, RunInfo(started_at=_moment(0), environment=ENVIRONMENT, cells=cells))
    run_cells(cells, LocalExecutor(environments={"cpu": ENVIRONMENT}, worker=worker), folder, (weigh,))
    assert len(sizes) == MEASURED
    print(sizes[-1] - sizes[9])


if __name__ == "__main__":
    measure(Path(sys.argv[1]))
