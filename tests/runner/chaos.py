"""A parent that measures 200 cells of a fake workload, many of which end badly; run as a script, killed by the test.

    python -m tests.runner.chaos RESULTS [--again] [--new] [--fault disk|rights|file --after N]

Starts a run, or resumes it, with `--again` also what ended badly, and writes its tables. After N cells the disk is
full, the folder of records may not be written, or a file stands in its place. The functions below stand in
for `bench.runner.workers.cells`, so the server imports no torch and a process costs milliseconds. How a cell ends is
drawn from its seed.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
from pathlib import Path

from bench.cli.progress import stoppable
from bench.core.cell import Cell
from bench.core.errors import StoreError
from bench.core.record import Counters, Memory, Outcome, Phase, Sample, Sampling
from bench.runner import processes
from bench.runner.executor import LocalExecutor
from bench.runner.plan import remaining
from bench.runner.session import run_cells
from bench.runner.workers.answers import Counted, TimedCell
from bench.store import runs
from bench.store.runs import RunFolder, RunInfo, run_paths
from tests.records import ENVIRONMENT, STARTED_AT
from tests.runner import faults

WORKER = "tests.runner.chaos"
MODEL = "mlp"  # never built; only its code is hashed
CELLS = tuple(Cell(model=MODEL, batch_size=8, seed=seed) for seed in range(200))
TIMEOUT_SECONDS = 6.0  # a fork took more than 3 s where 17 processes wanted two cores
FAULTS = {
    "raise_error": Outcome.FAILED,
    "leave": Outcome.FAILED,
    "vanish": Outcome.FAILED,
    "segfault": Outcome.KILLED,
    "kill": Outcome.KILLED,
    "raise_out_of_memory_for_a_fork": Outcome.OUT_OF_MEMORY,
    "print_much": Outcome.FAILED,
    "ask": Outcome.FAILED,
    "close_output": Outcome.FAILED,
    "skip": Outcome.SKIPPED,
    "fork_and_leave_it": Outcome.OK,
}
RARE_FAULTS = {60: "hang", 90: "leave_a_thread", 140: "hang"}  # these cost seconds


def fault_of(cell: Cell) -> str | None:
    """Draw how a cell ends; None is well."""
    draw = random.Random(cell.seed)
    return RARE_FAULTS.get(cell.seed) or (draw.choice(list(FAULTS)) if draw.random() < 0.4 else None)


def expected(cell: Cell) -> Outcome:
    """Say how a cell must end."""
    fault = fault_of(cell)
    return Outcome.OK if fault in (None, "leave_a_thread") else FAULTS.get(fault, Outcome.TIMED_OUT)


def seconds_of(cell: Cell) -> tuple[float, ...]:
    """Make samples that tell which cell they are of."""
    return tuple(random.Random(-cell.seed - 1).uniform(0.1, 0.2) for _ in range(50))


def count_cell(cell: Cell, opinions: bool, steps: bool) -> Counted:
    return Counted(counters=Counters(parameters=cell.seed), advice=())


def time_cell(cell: Cell, sampling: Sampling, process: int, gpu_uuid: str | None, predicted: int | None) -> TimedCell:
    fault = fault_of(cell)
    if fault == "skip":
        return TimedCell(skipped="drawn by lot")
    if fault is not None:
        getattr(faults, fault)(*(["drawn by lot"] if fault == "raise_error" else []))
    return TimedCell(samples=(Sample(phase=Phase.STEP, seconds=seconds_of(cell)),))


def measure_peak(cell: Cell, gpu_uuid: str | None) -> Memory:
    return Memory(peak_resident_bytes=1000 + cell.seed)


class LazyExecutor(LocalExecutor):
    """Counts a cell when it is its turn, so that ten resumptions do not count everything ten times."""

    def prepare(self, cells, on_prepared):
        if len(cells) == 1:
            super().prepare(cells, on_prepared)


NOBODY = 65534


def break_folder(fault: str, records: Path) -> None:
    """Let nothing be written to the folder of records any more, by this process as by root."""
    if fault == "disk":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    elif fault == "rights":
        records.chmod(0o555)
        if os.geteuid() == 0:  # root may write anywhere; the server of fresh processes hears nobody but root
            runs.write_bytes = _as_nobody(runs.write_bytes)
    else:
        records.rename(records.with_name(AWAY))
        records.touch()


def _as_nobody(write):
    def written(path, data):
        os.seteuid(NOBODY)
        try:
            write(path, data)
        finally:
            os.seteuid(0)

    return written


def mend_folder(records: Path) -> None:
    """Undo that."""
    if records.is_file():
        records.unlink()
        records.with_name(AWAY).rename(records)
    records.chmod(0o755)


AWAY = "away"


def main(results: Path, is_again: bool, is_new: bool, fault: str | None, after: int) -> None:
    from bench.report.files import write_tables
    from bench.runner.events import CellFinished
    from bench.tables.catalog import COLUMNS

    def disturb(event):
        if fault is not None and isinstance(event, CellFinished) and event.index + 1 == after:
            break_folder(fault, folder.records_path)

    processes._preloaded[:] = [WORKER]
    environments = {"cpu": ENVIRONMENT}
    executor = LazyExecutor(environments=environments, timeout_seconds=TIMEOUT_SECONDS, worker=WORKER)
    known = run_paths(results)
    info = RunInfo(started_at=STARTED_AT, environment=ENVIRONMENT, cells=CELLS)
    folder = RunFolder.open(known[0]) if known and not is_new else RunFolder.create(results, info)
    with folder.locked():
        left = remaining(folder, CELLS, environments, Sampling(), retried=None if is_again else ())
        folder.remove_temporaries()
        run_cells([cell for cell, _ in left.again], executor, folder, (disturb,))
        write_tables(folder, dict.fromkeys(COLUMNS, folder.records()) | {"claims": ()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--new", action="store_true")
    parser.add_argument("--fault", choices=("disk", "rights", "file"))
    parser.add_argument("--after", type=int, default=0)
    asked = parser.parse_args()
    try:
        with stoppable():
            main(asked.results, asked.again, asked.new, asked.fault, asked.after)
    except KeyboardInterrupt:
        processes.kill_running()
        sys.exit(130)
    except StoreError as error:
        sys.exit(f"bench: {error}")
