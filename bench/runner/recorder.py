"""Measure cells one at a time as a test session asks for them; planning is remembered, every record is on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.core.cell import Cell
from bench.core.environment import Environment
from bench.core.jsonio import to_json
from bench.core.record import Outcome, Phase, Record, Sampling
from bench.runner import processes
from bench.runner.executor import LocalExecutor
from bench.runner.peaks import slow_precisions
from bench.runner.plan import make_plan
from bench.runner.records import Stamp, open_run
from bench.runner.session import write_derived
from bench.store.codec import digest, to_bytes
from bench.store.runs import RunFolder
from bench.store.stored import read_stored_run
from bench.suite.axes import sampling_of


class Recorder:
    """A growing run.

    Attributes:
        folder: None until the first cell is measured.
        environment: Environment of the first cell's device.
    """

    def __init__(self, results: Path, *, method: str = "forkserver") -> None:
        self.folder: RunFolder | None = None
        self.environment: Environment | None = None
        self._results = results
        self._method = method

    def measure(self, cell: Cell, sampling: Mapping[str, Any], base: Sampling | None = None) -> Record:
        """Measure one cell and store its record; `sampling` has the fields that differ from those of its suite.

        Raises:
            BenchError: The model or device is not there, or the record cannot be written.
        """
        plan = make_plan((cell,), method=self._method)
        if self.folder is None:
            self.environment = next(iter(plan.environments.values()))
            self.folder = open_run(self._results, environment=self.environment)
        asked = sampling_of(base or Sampling(), **sampling)
        environments, limit = plan.environments, asked.skip_slower_than
        slow = slow_precisions(plan.cells, environments, self._results, limit, method=self._method)
        executor = LocalExecutor(sampling=asked, environments=environments, method=self._method, slow=slow)
        record = executor.run(plan.cells[0])
        self.folder.append(record)
        return record

    def try_once(self, cell: Cell) -> Record:
        """Run one step of a cell in a fresh process, without a clock; its record is stored nowhere.

        Raises:
            BenchError: The model or device is not there.
        """
        (planned,) = make_plan((cell,), method=self._method).cells
        stamp = Stamp(planned)
        ending = processes.call("bench.runner.workers.cells:try_cell", planned, method=self._method)
        outcome = Outcome.SKIPPED if ending.value else ending.outcome
        return stamp.record(outcome, reason=ending.value or ending.reason, output_tail=ending.output_tail)

    def close(self) -> None:
        """Write the tables of what was measured."""
        if self.folder is not None:
            write_derived(self.folder, read_stored_run(self.folder))


def extra_info(record: Record) -> dict[str, Any]:
    """Gather what pytest-benchmark's JSON should say beside the seconds; SI units in the names."""
    from bench.stats.estimate import quantile

    counters = record.counters
    return {
        "cell": to_json(record.cell),
        "cell_id": record.cell.id,
        "cell_key": record.cell.key,
        "record_digest": digest(json.loads(to_bytes(record, record.cell.id))),
        "phase_median_seconds": {
            str(phase): quantile(seconds, 0.5)
            for phase in dict.fromkeys((*Phase, *(sample.phase for sample in record.samples)))
            if (seconds := record.sample_seconds(phase))
        },
        "parameters": counters.parameters,
        "trainable_parameters": counters.trainable_parameters,
        "flops": to_json(counters.flops),
        "memory": to_json(counters.memory),
        "advice": [advice.kind.value for advice in record.advice],
    }
