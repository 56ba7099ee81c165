"""Turn one cell into one Record, whatever happens on the way.

    prepare(cells)     count every cell, as many at once as there are cores; no clock runs yet
    run(cell)          time_cell       in a fresh process, `sampling.processes` times  -> samples
                       measure_peak    in another one, if the timing ended OK          -> memory
                       observe         instead of it, on an accelerator                -> memory and kernels
                    start_cold      in fresh interpreters, if it was asked for      -> cold starts

A cell of several processes (`world_size`) is timed by `time_ranks` and `measure_rank_peaks`, which launch them.

Only `run` needs a quiet machine, so everything else is done before.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.core.advice import MOST_LAUNCHES_TOLD, Advice, AdviceKind, doubts_of_peak
from bench.core.cell import Cell, CompileMode, Precision
from bench.core.environment import Environment
from bench.core.peaks import Peak, Peaks
from bench.core.record import ColdStart, Counters, EnergyWindow, Outcome, Record, Sampling
from bench.device.backend import backend_of, is_accelerator
from bench.device.clocks import doubts_of_lock
from bench.registry.code import code_hash
from bench.runner import processes
from bench.runner.counting import count_all, workspaces_of
from bench.runner.endings import Ending
from bench.runner.records import Stamp, tell_untraced, trace_file
from bench.runner.workers.answers import Counted, Observed, TimedCell
from bench.store.kept import KeptCounts

RANKS_WORKER = "bench.runner.workers.ranks"
RANKS_GRACE_SECONDS = 15.0
SNAPSHOTS = "snapshots"
"""Folder of a run with the history of allocators, as pytorch.org/memory_viz opens it."""

_RANK_PEAKS = "measure_rank_peaks"
NODES_GRACE_SECONDS = 120.0  # each starts a Python and imports torch first
COLD_WORKER = "bench.runner.workers.cold:start_cold"


@dataclass(kw_only=True, eq=False)
class LocalExecutor:
    """Turns a cell into a record on this machine, each pass in a fresh process; never raises for what a cell does.

    Attributes:
        sampling: How long to measure.
        environments: Environments from the preflight, by full device name.
        timeout_seconds: Per process, as for `processes.call`.
        method: `forkserver`, `spawn` or `inline`.
        is_predicting: Skip a cell whose predicted peak exceeds the free memory.
        is_metering: Measure the energy of a step, in a process of its own.
        is_cold: Measure how the cell begins where nothing was loaded or compiled before.
        is_snapshotting: Write the history of the accelerator's allocator.
        peaks: What this machine was measured to be able to do, by full device name.
        slow: By device and precision, why cells are skipped: a probe found them too slow here.
        worker: Module whose functions `count_cell`, `time_cell` and `measure_peak` do the work.
        kept: Kept counts, as for `count_all`.
        snapshots: Folder of the allocators' histories; None writes none.
        traces: Folder of the cells' traces; None writes none.
    """

    sampling: Sampling = field(default_factory=Sampling)
    environments: Mapping[str, Environment] = field(default_factory=dict)
    timeout_seconds: float | None = None
    method: str = "forkserver"
    is_predicting: bool = True
    is_metering: bool = False
    is_cold: bool = False
    is_snapshotting: bool = False
    peaks: Mapping[str, Peaks] = field(default_factory=dict)
    slow: Mapping[tuple[str, Precision], str] = field(default_factory=dict)
    worker: str = "bench.runner.workers.cells"
    kept: KeptCounts | None = None
    snapshots: Path | None = None
    traces: Path | None = None
    _counted: dict[str, tuple[Counted, str | None]] = field(default_factory=dict)  # with the code that was counted

    @property
    def _limits(self) -> dict[str, Any]:
        return {"timeout_seconds": self.timeout_seconds, "budget_seconds": self.sampling.budget_seconds}

    def prepare(self, cells: Sequence[Cell], on_prepared: Callable[[Cell], None]) -> None:
        """Count all cells, side by side."""
        cells = [cell for cell in cells if (cell.device, cell.precision) not in self.slow]
        codes = {model: code_hash(model) for model in dict.fromkeys(cell.model for cell in cells)}
        options: dict[str, Any] = {"method": self.method, "timeout_seconds": self.timeout_seconds}
        for cell, counted in count_all(cells, worker=self.worker, kept=self.kept, **options):
            self._counted[cell.key] = counted, codes[cell.model]
            on_prepared(cell)

    def work_of(self, cell: Cell) -> float:
        """Return the FLOPs that `prepare` counted of a step."""
        counted = self._counted.get(cell.key)
        flops = counted[0].counters.flops if counted else None
        return math.inf if flops is None or flops.total is None else flops.total

    def go_on_like(self, records: Sequence[Record]) -> None:
        """Measure energy and cold starts if these records of the same run have them."""
        self.is_metering |= any(record.counters.energy is not None for record in records)
        self.is_cold |= any(record.cold_starts for record in records)

    def run(self, cell: Cell) -> Record:
        """Measure one cell."""
        stamp = Stamp(cell)
        environment = self.environments.get(cell.device)
        gpu_uuid = environment.gpu_uuid if environment else None
        code = code_hash(cell.model)
        if (slow := self.slow.get((cell.device, cell.precision))) is not None:
            about = {"environment": environment, "sampling": self.sampling, "code": code}
            return stamp.record(Outcome.SKIPPED, reason=slow, **about)
        counters, doubts = self._counters_of(cell, code)
        if counters.predicted_peak is not None:
            workspaces = workspaces_of(cell, gpu_uuid, [name for name, _ in counters.dispatches] or None)
            counters = replace(counters, predicted_peak=counters.predicted_peak.with_workspace(workspaces))
        # A compiled step needs less than the eager one that is predicted: no reason to skip it.
        is_predicted = self.is_predicting and cell.compile is CompileMode.NONE
        peak = counters.predicted_peak if is_predicted else None
        predicted_bytes = peak.total_bytes if peak else None

        def record(outcome: Outcome, advice: tuple[Advice, ...], **found: Any) -> Record:
            about = {"environment": environment, "sampling": self.sampling, "counters": counters, "code": code}
            roof = self._peak_over(cell)
            unlocked = doubts_of_lock(environment, cell.device, is_asked=self.sampling.lock_clocks)
            doubts = (*doubts_of_peak(roof), *unlocked) if outcome is Outcome.OK else ()
            return stamp.record(outcome, **about, peak=roof, advice=(*advice, *doubts), **found)

        timed: list[TimedCell] = []
        for process in range(self.sampling.processes):
            ending = self._time(cell, process, gpu_uuid, predicted_bytes)
            if ending.outcome is not Outcome.OK:
                is_full = ending.outcome is Outcome.OUT_OF_MEMORY
                reason = f"{ending.reason}{self._snapshot(cell)}" if is_full else ending.reason
                tail = ending.output_tail
                # Its reason says it all; that a count failed too leaves no valid times.
                rest = tuple(doubt for doubt in doubts if doubt.kind is not AdviceKind.COUNT_FAILED)
                return record(ending.outcome, reason=reason, output_tail=tail, advice=rest, ranks=ending.ranks)
            timed.append(ending.value)
            if ending.value.skipped:
                return record(Outcome.SKIPPED, reason=ending.value.skipped, advice=(*ending.value.advice, *doubts))
        seen, unseen = self._observe(cell, gpu_uuid)
        energy = self._measure_energy(cell, gpu_uuid) if self.is_metering else None
        if self.is_snapshotting:
            self._snapshot(cell)
        if self.traces is not None:
            path = trace_file(self.traces, cell.key)
            is_alone = cell.world_size == 1
            tell_untraced(
                cell.id,
                self._call("trace_cell", cell, path) if is_alone else self._call_ranks("trace_ranks", cell, path),
            )
        joules = energy.joules_per_step if energy else None
        said = [a for one in timed for a in one.advice]
        if (seen.launches or 0) > MOST_LAUNCHES_TOLD:
            said = [a for a in said if a.kind is not AdviceKind.LAUNCH_BOUND]
        counters = replace(
            counters, memory=seen.memory, kernel_launches=seen.launches, energy=energy, energy_joules=joules
        )
        return record(
            Outcome.OK,
            samples=tuple(sample for answer in timed for sample in answer.samples),
            # Each once: what both the count and the clock met, and every process.
            advice=tuple(dict.fromkeys((*said, *unseen, *doubts))),
            tokens_per_example=timed[0].tokens_per_example,
            final_loss=timed[-1].final_loss,
            state=timed[-1].state,
            ranks=timed[0].ranks,
            cold_starts=self._cold_starts(cell) if self.is_cold else (),
        )

    def _time(self, cell: Cell, process: int, gpu_uuid: str | None, predicted_bytes: int | None) -> Ending:
        if cell.world_size == 1:
            return self._call("time_cell", cell, self.sampling, process, gpu_uuid, predicted_bytes)
        return self._call_ranks("time_ranks", cell, self.sampling, process, predicted_bytes)

    def _counters_of(self, cell: Cell, code: str | None) -> tuple[Counters, tuple[Advice, ...]]:
        """Return what `prepare` counted; counts now if it was not asked to, or the model was edited since."""
        if cell.key not in self._counted or self._counted[cell.key][1] != code:
            self.prepare((cell,), lambda _: None)
        counted, _ = self._counted[cell.key]
        return counted.counters, counted.advice

    def _observe(self, cell: Cell, gpu_uuid: str | None) -> tuple[Observed, tuple[Advice, ...]]:
        """Measure the peak and, on an accelerator, count the kernels; ranks are not profiled."""
        is_counting = is_accelerator(cell.device) and cell.world_size == 1
        found, reason = None, None
        if is_counting:
            ending = self._call("observe", cell, gpu_uuid)
            found, reason = ending.value, ending.reason or ending.outcome.value
        if found is None:  # a profiler that takes its process along costs only its count
            is_alone = cell.world_size == 1
            ending = self._call("measure_peak", cell, gpu_uuid) if is_alone else self._call_ranks(_RANK_PEAKS, cell)
            found = Observed(memory=ending.value, reason=reason)
        doubts: list[Advice] = []
        if found.memory is None:
            facts = (("reason", ending.reason or ending.outcome.value),)
            doubts.append(Advice(kind=AdviceKind.MEMORY_UNMEASURED, facts=facts))
        if found.reason is not None:
            counter = (("counter", "kernel launches"), ("reason", found.reason))
            doubts.append(Advice(kind=AdviceKind.COUNT_FAILED, facts=counter))
        return found, tuple(doubts)

    def _measure_energy(self, cell: Cell, gpu_uuid: str | None) -> EnergyWindow:
        """Measure the energy of a step, or say why not; nothing is started where there is no meter."""
        if cell.world_size > 1:
            return EnergyWindow(reason="the energy of several processes is not measured")
        meter = backend_of(cell.device).find_meter(gpu_uuid)
        if isinstance(meter, str):
            return EnergyWindow(reason=meter)
        ending = self._call("meter_energy", cell, gpu_uuid)
        if ending.outcome is Outcome.OK:
            return ending.value  # type: ignore[no-any-return]
        return EnergyWindow(reason=ending.reason or ending.outcome.value)

    def _cold_starts(self, cell: Cell) -> tuple[ColdStart, ...]:
        """Start the cell with an empty folder of compiled code; a compiled cell once more with what that has left."""
        if cell.world_size > 1:
            return (ColdStart(has_cache=False, reason="a cell of several processes is not started cold"),)
        found: list[ColdStart] = []
        with tempfile.TemporaryDirectory(prefix="bench-cold-", ignore_cleanup_errors=True) as folder:
            for has_cache in (False,) if cell.compile is CompileMode.NONE else (False, True):
                began = time.monotonic()
                arguments = (cell, self.sampling, folder, began, has_cache)
                ending = processes.call(COLD_WORKER, *arguments, **self._limits, method="spawn")
                one = ColdStart(has_cache=has_cache, reason=ending.reason) if ending.value is None else ending.value
                found.append(replace(one, total_seconds=time.monotonic() - began))
                if one.reason is not None:
                    break
        return tuple(found)

    def _snapshot(self, cell: Cell) -> str:
        """Run the cell again with the allocator's history written, and say where that lies; nothing on a CPU."""
        if self.snapshots is None or not is_accelerator(cell.device) or cell.world_size > 1:
            return ""
        path = self.snapshots / f"{cell.key}.pickle"
        is_written = self._call("snapshot_cell", cell, str(path)).value
        return f"; the allocator's history is in {SNAPSHOTS}/{path.name}" if is_written else ""

    def _peak_over(self, cell: Cell) -> Peak | None:
        """Return the roof over a cell; None where it runs on other threads than those that were probed."""
        peaks = self.peaks.get(cell.device)
        is_alone = cell.world_size == 1 and peaks is not None and cell.threads in (None, peaks.threads)
        is_alike = is_accelerator(cell.device) or is_alone
        return peaks.over(cell.precision) if peaks is not None and is_alike else None

    def _call(self, function: str, *arguments: Any) -> Ending:
        return processes.call(f"{self.worker}:{function}", *arguments, **self._limits, method=self.method)

    def _call_ranks(self, function: str, cell: Cell, *arguments: Any) -> Ending:
        """Call what launches ranks: it keeps the time itself, to say which rank was late; we wait a little longer."""
        grace = RANKS_GRACE_SECONDS if cell.nodes == 1 else NODES_GRACE_SECONDS
        limit = processes.limit_of(**self._limits)
        return processes.call(
            f"{RANKS_WORKER}:{function}",
            cell,
            *arguments,
            limit,
            timeout_seconds=limit + grace,
            is_renewed=self.timeout_seconds is None,
            method=self.method,
        )
