"""Is this machine fit to measure on? Asked in fresh processes; a minute of honest answers before an hour of numbers.

What isolation costs: one cell of a model that does nothing, from its start to its record on disk.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.cell import Cell
from bench.core.environment import Environment, MachineState
from bench.core.errors import BenchError
from bench.core.record import Outcome, Sampling
from bench.device.cpu import untold
from bench.runner import processes
from bench.runner.executor import LocalExecutor
from bench.runner.records import open_run
from bench.runner.workers.answers import Examination

NULL_MODEL = "bench.runner.workers.null:workload"


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
        folder = open_run(Path(root))
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


PROCESS_STARTS = 5
CELL_STARTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What `bench machine` found.

    Attributes:
        environments: One per device, CPU first.
        precisions: Device, precision, and the reason why it cannot, or None where it can.
        nvml: Why the GPU's own counters cannot be read; None if they can.
        torchvision: Why torchvision cannot be imported; None if it can.
        state: Of the machine while it should have been idle.
        forked_call_seconds: Median cost of one call in a fresh process forked from the server; None without a server.
        spawned_call_seconds: The same by a newly started interpreter; what the server saves.
        cell_overhead_seconds: Median cost of one whole cell of a model that does nothing, from its start to its record
            on disk, without its timed steps; None without a server.
        spawned_cell_overhead_seconds: The same, each of the cell's processes newly started.
        doubts: What would make times here doubtful, one sentence each.
        untold: What this system does not tell, each with what that means for a measurement.
    """

    environments: tuple[Environment, ...]
    precisions: tuple[tuple[str, str, str | None], ...]
    nvml: str | None
    torchvision: str | None
    state: MachineState
    forked_call_seconds: float | None
    spawned_call_seconds: float
    cell_overhead_seconds: float | None
    spawned_cell_overhead_seconds: float
    doubts: tuple[str, ...]
    untold: tuple[str, ...]


def diagnose() -> Diagnosis:
    """Examine the machine: devices, precisions, how busy it is, what a fresh process costs. Takes seconds."""
    examined: Examination = _value(processes.call("bench.runner.workers.cells:examine"))
    call = cell = None
    if processes.has_server():
        call = statistics.median(_timed_call("forkserver") for _ in range(PROCESS_STARTS))
        cell = statistics.median(measure_overhead().total_seconds for _ in range(CELL_STARTS))
    return Diagnosis(
        environments=examined.environments,
        precisions=examined.precisions,
        nvml=examined.nvml,
        torchvision=examined.torchvision,
        state=examined.state,
        forked_call_seconds=call,
        spawned_call_seconds=_timed_call("spawn"),
        cell_overhead_seconds=cell,
        spawned_cell_overhead_seconds=measure_overhead("spawn").total_seconds,
        doubts=_doubts(examined),
        untold=untold(),
    )


def _timed_call(method: str) -> float:
    started = time.perf_counter()
    _value(processes.call("bench.runner.workers.cells:nothing", method=method))
    return time.perf_counter() - started


def _value(ending: processes.Ending) -> Any:
    if ending.outcome is not Outcome.OK:
        raise ending.error or BenchError(f"a fresh process could not be used: {ending.reason}")
    return ending.value


def _doubts(examined: Examination) -> tuple[str, ...]:
    doubts = []
    cpu, busy = examined.environments[0], examined.state.other_busy_cores
    if busy is not None and cpu.cores - busy < cpu.threads - 0.25:
        doubts.append(
            f"{busy:.1f} of {cpu.cores} cores are busy with other work and torch uses {cpu.threads} threads: "
            "times will be several times too long; stop the other work or use --threads"
        )
    if examined.state.steal_fraction is not None and examined.state.steal_fraction > 0.02:
        doubts.append(f"the hypervisor takes {examined.state.steal_fraction:.0%} of the CPU time away")
    if examined.state.gpu_other_processes:
        doubts.append(f"{examined.state.gpu_other_processes} other processes compute on the GPU")
    doubts += [f"the GPU lowers its clock: {reason}" for reason in examined.state.gpu_throttle_reasons]
    return tuple(doubts)
