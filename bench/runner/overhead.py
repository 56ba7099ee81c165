"""What isolation costs: one cell of a model that does nothing, from its start to its record on disk."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.core.cell import Cell
from bench.core.errors import BenchError
from bench.core.record import Outcome, Sampling
from bench.runner.executor import LocalExecutor
from bench.store.records import RunFolder, RunInfo

NULL_MODEL = "bench.registry.null:workload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """What one cell cost beside its timed steps, in seconds.

    Attributes:
        count_seconds: The process that counts; those of a sweep are counted side by side.
        measure_seconds: The processes that time and measure memory, and writing the record; without warm-up and
            samples.
    """

    count_seconds: float
    measure_seconds: float

    @property
    def total_seconds(self) -> float:
        """The whole cell."""
        return self.count_seconds + self.measure_seconds


def measure_overhead(method: str = "forkserver") -> Overhead:
    """Run a cell of a null model into a folder that is thrown away.

    Args:
        method: How its processes are started, as in `LocalExecutor`.

    Raises:
        BenchError: The cell did not end OK.
    """
    cell = Cell(model=NULL_MODEL, batch_size=1, threads=1)
    sampling = Sampling(budget_seconds=0.001, min_steps=2, max_steps=10)
    executor = LocalExecutor(sampling=sampling, method=method)
    with tempfile.TemporaryDirectory() as root:
        folder = RunFolder.create(Path(root), RunInfo(started_at=datetime.now(UTC).isoformat()))
        start = time.perf_counter()
        executor.prepare((cell,), lambda _: None)
        counted = time.perf_counter()
        record = executor.run(cell)
        folder.append(record)
        end = time.perf_counter()
    if record.outcome is not Outcome.OK:
        raise BenchError(f"a cell that does nothing could not be measured: {record.reason}")
    steps = sum(sum(sample.warmup_seconds) + sum(sample.seconds) for sample in record.samples)
    return Overhead(count_seconds=counted - start, measure_seconds=end - counted - steps)
