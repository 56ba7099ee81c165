"""Is this machine fit to measure on? And what does measuring cost here, which takes longer to find out.

diagnose()   devices, precisions, versions; as long as importing torch takes
find_costs() what a fresh process and a whole cell of a model that does nothing cost
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.core.cell import Cell
from bench.core.environment import Environment, MachineState
from bench.core.errors import BenchError
from bench.core.progress import tell, told
from bench.core.record import Outcome, Sampling
from bench.core.units import counted
from bench.device.cpu import untold
from bench.runner import processes
from bench.runner.executor import LocalExecutor
from bench.runner.records import open_run
from bench.runner.workers.answers import Examination

NULL_MODEL = "bench.runner.workers.machine:workload"
_UNUSABLE = "a fresh process could not be used"


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


def measure_overhead(method: str = "forkserver", timeout_seconds: float | None = None) -> Overhead:
    """Run a cell of a null model into a folder that is thrown away.

    Raises:
        BenchError: The cell did not end OK.
    """
    cell = Cell(model=NULL_MODEL, batch_size=1, threads=1)
    sampling = Sampling(budget_seconds=0.001, min_steps=2, max_steps=10)
    executor = LocalExecutor(sampling=sampling, method=method, timeout_seconds=timeout_seconds)
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
class Costs:
    """What measuring costs beside the timed steps.

    Attributes:
        forked_call_seconds: Median cost of one call in a fresh process forked from the server; None without a server.
        spawned_call_seconds: The same by a newly started interpreter; what the server saves.
        cell_overhead_seconds: Median cost of one whole cell of a model that does nothing, from its start to its record
            on disk, without its timed steps; None without a server.
        spawned_cell_overhead_seconds: The same, each of the cell's processes newly started.
        torchvision: Why torchvision cannot be imported; None if it can.
    """

    forked_call_seconds: float | None
    spawned_call_seconds: float
    cell_overhead_seconds: float | None
    spawned_cell_overhead_seconds: float
    torchvision: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What `bench machine` found; what was not asked for is None.

    Attributes:
        environments: One per device, CPU first.
        precisions: Device, precision, and the reason why it cannot, or None where it can.
        nvml: Why the GPU's own counters cannot be read; None if they can.
        state: State of the machine while it should have been idle.
        costs: What measuring costs here.
        doubts: What would make times here doubtful, one sentence each.
        untold: What this system does not tell, each with what that means for a measurement.
    """

    environments: tuple[Environment, ...]
    precisions: tuple[tuple[str, str, str | None], ...]
    nvml: str | None
    state: MachineState
    costs: Costs | None = None
    doubts: tuple[str, ...]
    untold: tuple[str, ...]


def diagnose(state: MachineState, *, timeout_seconds: float | None = None) -> Diagnosis:
    """Examine devices and precisions in a new interpreter, which imports torch and little else.

    The state is what `bench.device.environment.look` found.

    Raises:
        BenchError: torch cannot be imported, or takes longer.
    """
    ending = processes.call("bench.runner.workers.machine:examine", method="spawn", timeout_seconds=timeout_seconds)
    examined: Examination = ending.checked(_UNUSABLE)
    gpu: Mapping[str, Any] = next((one for one in reversed(examined.states) if one), {})
    devices = dict.fromkeys(device for device, _, _ in examined.precisions)
    of_devices = [_doubts_of(device, found) for device, found in zip(devices, examined.states, strict=True)]
    return Diagnosis(
        environments=examined.environments,
        precisions=examined.precisions,
        nvml=examined.nvml,
        state=replace(state, **gpu),
        doubts=(*examined.problems, *_doubts(examined.environments[0], state), *itertools.chain(*of_devices)),
        untold=untold(),
    )


def find_costs(*, timeout_seconds: float | None = None) -> Costs:
    """Measure what measuring costs: fresh processes, and a whole cell. Takes about 20 s.

    Raises:
        BenchError: A process could not be used.
    """
    call = cell = None
    if processes.has_server():
        call = statistics.median(_timed_call("forkserver", timeout_seconds) for _ in range(PROCESS_STARTS))
        starts = told(range(CELL_STARTS), "measuring what a cell costs", CELL_STARTS)
        overheads = [measure_overhead(timeout_seconds=timeout_seconds) for _ in starts]
        cell = statistics.median(one.total_seconds for one in overheads)
    function = "bench.runner.workers.cells:torchvision_problem"
    tell("measuring what a cell costs in a new interpreter")
    return Costs(
        forked_call_seconds=call,
        spawned_call_seconds=_timed_call("spawn", timeout_seconds),
        cell_overhead_seconds=cell,
        spawned_cell_overhead_seconds=measure_overhead("spawn", timeout_seconds).total_seconds,
        torchvision=processes.call(function, timeout_seconds=timeout_seconds).checked(_UNUSABLE),
    )


def _timed_call(method: str, timeout_seconds: float | None) -> float:
    started = time.perf_counter()
    function = "bench.runner.workers.cells:nothing"
    processes.call(function, method=method, timeout_seconds=timeout_seconds).checked(_UNUSABLE)
    return time.perf_counter() - started


def _doubts(cpu: Environment, state: MachineState) -> tuple[str, ...]:
    doubts = []
    busy = state.other_busy_cores
    if busy is not None and cpu.cores - busy < cpu.threads - 0.25:
        doubts.append(
            f"{busy:.1f} of {cpu.cores} cores are busy with other work and torch uses {cpu.threads} threads: "
            "times will be several times too long; stop the other work or use --threads"
        )
    if state.steal_fraction is not None and state.steal_fraction > 0.02:
        doubts.append(f"the hypervisor takes {state.steal_fraction:.0%} of the CPU time away")
    return tuple(doubts)


def _doubts_of(device: str, state: Mapping[str, Any]) -> list[str]:
    """Return what its backend's `state` gives to doubt about an idle device."""
    others, reasons = state.get("gpu_other_processes"), state.get("gpu_throttle_reasons")
    doubts = [f"{counted(others, 'other process', 'other processes')} on {device}"] if others else []
    return doubts + [f"{device} lowers its clock: {reason}" for reason in reasons or ()]
