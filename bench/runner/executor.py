"""Turn one cell into one Record, whatever happens on the way.

    time_cell      in a fresh process, `sampling.processes` times      -> samples
    observe_cell   in another fresh process, if the timing ended OK    -> counters

The inline executor calls the same functions in this process, for debuggers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.core.cell import Cell
from bench.core.environment import Environment
from bench.core.record import Advice, AdviceKind, Counters, Outcome, Record, Sampling
from bench.runner import processes
from bench.runner.answers import TimedCell
from bench.runner.stamp import Stamp


class Executor(Protocol):
    """Whatever can turn a cell into a record; it never raises for what a cell does."""

    def run(self, cell: Cell) -> Record:
        """Measure one cell; every way it can end is in the record's outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalExecutor:
    """Runs a cell on this machine, each pass in a fresh process.

    Attributes:
        environments: By full device name, from the preflight.
        timeout_seconds: Per process; None waits.
        method: `forkserver`, `spawn` or `inline`.
    """

    sampling: Sampling = field(default_factory=Sampling)
    environments: Mapping[str, Environment] = field(default_factory=dict)
    timeout_seconds: float | None = None
    method: str = "forkserver"

    def run(self, cell: Cell) -> Record:
        """Measure one cell."""
        stamp = Stamp(cell)
        environment = self.environments.get(cell.device)
        gpu_uuid = environment.gpu_uuid if environment else None

        def record(outcome: Outcome, **found: Any) -> Record:
            return stamp.record(outcome, environment=environment, sampling=self.sampling, **found)

        timed: list[TimedCell] = []
        for process in range(self.sampling.processes):
            ending = self._call("time_cell", cell, self.sampling, process, gpu_uuid)
            if ending.outcome is not Outcome.OK:
                return record(ending.outcome, reason=ending.reason, output_tail=ending.output_tail)
            timed.append(ending.value)
            if ending.value.skipped:
                return record(Outcome.SKIPPED, reason=ending.value.skipped)
        observed = self._call("observe_cell", cell, gpu_uuid)
        if observed.outcome is Outcome.OK:
            counters, doubts = observed.value.counters, observed.value.advice
        else:
            counters = Counters()
            doubts = (Advice(kind=AdviceKind.COUNT_FAILED, facts=(("reason", observed.reason or ""),)),)
        return record(
            Outcome.OK,
            samples=tuple(sample for answer in timed for sample in answer.samples),
            counters=counters,
            advice=tuple(dict.fromkeys(advice for answer in timed for advice in answer.advice)) + doubts,
            tokens_per_example=timed[0].tokens_per_example,
            final_loss=timed[-1].final_loss,
            state=timed[-1].state,
        )

    def _call(self, function: str, *arguments: Any) -> processes.Ending:
        function = f"bench.runner.worker:{function}"
        return processes.call(function, *arguments, timeout_seconds=self.timeout_seconds, method=self.method)
