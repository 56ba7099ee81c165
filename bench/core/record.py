"""The atom of storage: one `Record` per cell, raw and never edited. Everything else is derived from it on read.

The seconds of several ranks that step together, as the seconds of one step.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from bench.core.advice import Advice
from bench.core.cell import Cell
from bench.core.environment import Environment, MachineState, RankSetup
from bench.core.peaks import Peak
from bench.core.units import format_seconds


def joint_steps(ranks: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return the seconds between the ends of successive steps, where a step ends when its last rank ends it.

    They add up to the slowest rank's time. The largest value of each step would not: ranks wait for each other inside
    a step, so one's long step is followed by a short one, and taking the larger each time counts the wait twice.
    The sequences of the ranks are equally long and all begun together.
    """
    if len(ranks) == 1:
        return tuple(ranks[0])
    ends = [max(ends) for ends in zip(*(itertools.accumulate(rank) for rank in ranks), strict=True)]
    return tuple(end - before for before, end in itertools.pairwise((0.0, *ends)))


def mean_steps(ranks: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return for each step the mean over the ranks: of phases, whose means add up to the mean step."""
    return tuple(sum(values) / len(values) for values in zip(*ranks, strict=True))


SCHEMA = 4
"""Version of the record files. History:

- 1 (2026-11-23) first.
- 2 (2026-11-23) `Record.code`, `RunInfo.resumptions`. Optional, but a reader of schema 1 takes an unknown key for a
  foreign file; the number makes it say that the file is newer.
- 3 (2026-11-23) `Sample.rank`, `Record.ranks`, `Cell.parallel`; `Counters.energy`, `Record.peak`, clocks and power in
  `MachineState`.
- 4 (2026-11-28) `Sample.phase` may be a name of the user's own; `Cell.accumulate`, `Cell.clip_norm`.
  (2026-11-29, unreleased still) `Sampling` has `min_blocks`, `undecided_steps`, `floor_seconds` and
  `skip_slower_than`; `Sample` has `build_seconds`, `Record` has `cold_starts`. (2026-11-30, unreleased still)
  `GenerationTimes` and `SamplingTimes` have `processes`; `gpu_throttle_reasons` and `gpu_throttled` may be None.
"""


class Phase(StrEnum):
    """A part of one step. STEP is the whole step measured unsplit, never the sum of the others."""

    FORWARD = "forward"
    LOSS = "loss"
    BACKWARD = "backward"
    OPTIMIZER = "optimizer"
    STEP = "step"


def phase_of(name: str) -> Phase | str:
    """Return the phase of that name; a step of one's own has phases with names of its own."""
    return _PHASES.get(name) or str(name)


_PHASES = {phase.value: phase for phase in Phase}

UNMARKED = "unmarked"
"""What a step of one's own does outside all of its phases."""


class Outcome(StrEnum):
    """How a cell ended; each but OK comes with a reason."""

    OK = "ok"
    SKIPPED = "skipped"
    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    KILLED = "killed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How long to measure, and when to stop.

    Attributes:
        target: Stop when the 95 % interval of the median is within this fraction of it.
        budget_seconds: Give up trying after this long: whole and split steps together, without the warm-up.
        min_steps: Fewest whole steps, or as many as fit into `floor_seconds`.
        min_blocks: Fewest blocks of whole steps, because steps taken together share their luck.
        undecided_steps: Where the budget is spent and the interval is missing or wide, go on to this many steps.
        floor_seconds: What these three may cost where it is more than the budget; five steps are timed in any case.
        max_steps: Most steps.
        min_warmup_steps: Executed and recorded, not counted.
        max_warmup_steps: The warm-up ends here although steps still change.
        min_warmup_seconds: For accelerators, whose clocks need time to settle.
        warmup_tolerance: Two successive windows of steps differ by less than this when the warm-up has settled.
        skip_slower_than: Skip cells of a precision whose probed step takes so many times as long as fp32's; 0: none.
        processes: Fresh processes per cell; an interval that includes the spread between processes needs 3.
        tail: Go on until p99 has its interval, instead of the median its target.
        cold_cache: Empty the device's last cache before every step, outside its time.
        lock_clocks: Lock the clocks of GPUs meanwhile; where that is refused, a doubt says so.
        exclusive: Only CPUs of the GPU's own NUMA node work for it, and no other cell beside it there.
    """

    target: float = 0.02
    budget_seconds: float = 1.0
    min_steps: int = 20
    min_blocks: int = 5
    undecided_steps: int = 60
    floor_seconds: float = 20.0
    max_steps: int = 10_000
    min_warmup_steps: int = 3
    max_warmup_steps: int = 20
    min_warmup_seconds: float = 0.0
    warmup_tolerance: float = 0.05
    skip_slower_than: float = 0.0
    processes: int = 1
    tail: bool = False
    cold_cache: bool = False
    lock_clocks: bool = False
    exclusive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OfPhase:
    """What is said of one phase: a `Phase`, or the name that a step of one's own gave it."""

    phase: Phase | str

    def __post_init__(self) -> None:
        """Read the name of a phase as that phase."""
        object.__setattr__(self, "phase", phase_of(self.phase))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(OfPhase):
    """The raw times of one phase in one process.

    Attributes:
        seconds: One value per step, in the order they were taken.
        clock: `host` (perf_counter) or `device` (events on the device's stream).
        host_seconds: For `clock == "device"`: what the same step took the host to launch; else empty.
        warmup_seconds: Executed before, not counted.
        build_seconds: Of a STEP: resolving, building and placing the model, its optimizer and batch in that process,
            with torch loaded before; without the steps.
        discarded: Reason and count of steps that were dropped.
        process: Index of the fresh process that took them, from 0.
        rank: Rank of the process in a training of several (`Cell.world_size`), from 0.
        converged: The target of `Sampling` was reached; None where the phase follows another one's stopping.
    """

    seconds: tuple[float, ...]
    clock: str = "host"
    host_seconds: tuple[float, ...] = ()
    warmup_seconds: tuple[float, ...] = ()
    discarded: tuple[tuple[str, int], ...] = ()
    process: int = 0
    rank: int = 0
    converged: bool | None = None
    build_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlopCount:
    """Floating-point operations of one step; 1 MAC = 2; matmul- and convolution-like operations.

    Attributes:
        forward: None is unmeasured. The loss counts as forward.
        backward: None is unmeasured or not asked for (infer mode).
        executed_forward: What the kernels really execute, where it differs (never less).
        executed_backward: Includes what activation checkpointing and fused attention recompute.
        uncounted: Operations without a formula, name and calls; if any, the count is a lower bound.
        method: Which counter, on which kind of tensors.
    """

    forward: int | None = None
    backward: int | None = None
    executed_forward: int | None = None
    executed_backward: int | None = None
    uncounted: tuple[tuple[str, int], ...] = ()
    method: str = ""

    @property
    def is_lower_bound(self) -> bool:
        """Whether operations were dispatched that nobody could count."""
        return bool(self.uncounted)

    @property
    def total(self) -> int | None:
        """Forward and backward together; forward alone where no backward was asked for."""
        if self.forward is None:
            return None
        return self.forward + (self.backward or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What another counter says of the same forward pass, converted to 1 MAC = 2.

    Attributes:
        counter: `torch`, `fvcore`, `closed-form`.
        forward_flops: None where it could not count.
        note: Why it differs, or why it could not count.
    """

    counter: str
    forward_flops: int | None = None
    backward_flops: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCount:
    """What one module adds by itself, without its children; modules called twice stand once with `calls` 2.

    Attributes:
        name: Dotted path, `` for the model itself.
        parameters: Elements of the parameters this module registers directly; a tensor shared with an earlier layer
            counts 0 here, so that the column sums to the model's.
        output_shape: Shape of the first output tensor of the last call.
        weight_shape: Shape of the parameter named `weight`, where the module has one.
        flops_forward: FLOPs of operations dispatched inside this module and not inside a child.
        activation_bytes: Bytes of the output tensors of all calls.
        bytes_touched: Bytes read and written by the operations counted here, forward.
    """

    name: str
    type: str
    calls: int = 1
    parameters: int = 0
    trainable_parameters: int = 0
    buffers: int = 0
    output_shape: tuple[int, ...] | None = None
    weight_shape: tuple[int, ...] | None = None
    flops_forward: int | None = None
    flops_backward: int | None = None
    activation_bytes: int | None = None
    bytes_touched: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedPeak:
    """Bytes live at the predicted peak of one step, by cause, which sum to the total; from fake tensors."""

    total_bytes: int
    weights_bytes: int
    gradients_bytes: int
    optimizer_state_bytes: int
    inputs_bytes: int
    saved_activations_bytes: int
    temporary_bytes: int
    workspace_bytes: int = 0

    def with_workspace(self, size: int) -> PredictedPeak:
        """Add what a library of matrix products takes from the allocator, beside all tensors."""
        return replace(self, total_bytes=self.total_bytes + size, workspace_bytes=self.workspace_bytes + size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Peaks that were measured during a step of their own pass; each None where it cannot be had.

    Attributes:
        peak_allocated_bytes: Peak of the accelerator's caching allocator (live tensors).
        peak_requested_bytes: What tensors had asked of it at their peak: without its rounding of large blocks.
        peak_reserved_bytes: What that allocator took from the device.
        compiling_allocated_bytes: Its peak over the first steps of a compiled cell, with what the compiler tried.
        device_used_bytes: Device memory in use by this process as NVML sees it, contexts included.
        whole_device_bytes: Device memory in use by all processes together, after the steps.
        peak_resident_bytes: Peak of the whole process (CPU).
        step_resident_bytes: The peak above what the process held before the model was built.
        method: How they were read.
    """

    peak_allocated_bytes: int | None = None
    peak_requested_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    compiling_allocated_bytes: int | None = None
    device_used_bytes: int | None = None
    whole_device_bytes: int | None = None
    peak_resident_bytes: int | None = None
    step_resident_bytes: int | None = None
    method: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyWindow:
    """The energy of whole steps over a window of its own; the device's rest consumption is part of it.

    Attributes:
        joules_per_step: None where no meter could be read, and then `reason` says why.
        average_watts: Over the window.
        idle_watts: Before the model was built, with nothing of ours running; it is part of the average.
        window_seconds: Seconds are best: NVML's counter moves every 100 ms; a shorter window adds up samples of power.
        steps: Executed in the window.
        method: Which meter.
    """

    joules_per_step: float | None = None
    average_watts: float | None = None
    idle_watts: float | None = None
    window_seconds: float | None = None
    steps: int = 0
    method: str = ""
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What was read off the model without a clock.

    Attributes:
        parameters: Elements of unique tensors: tied weights once.
        buffers: Elements of unique buffers.
        dispatches: Dispatched operations of one step without views and `prim.*`, name and count, sorted by name.
        bytes_touched: Bytes read and written by them.
        saved_bytes: Bytes of the activations that autograd saves for backward; parameters and inputs live anyway.
        kernel_launches: Kernels launched on an accelerator.
        energy_joules: Per step, over a window long enough; else None.
        energy: Window that was measured, or the reason why not; None if energy was not asked for.
    """

    parameters: int | None = None
    trainable_parameters: int | None = None
    buffers: int | None = None
    flops: FlopCount | None = None
    opinions: tuple[Opinion, ...] = ()
    dispatches: tuple[tuple[str, int], ...] = ()
    bytes_touched: int | None = None
    saved_bytes: int | None = None
    kernel_launches: int | None = None
    predicted_peak: PredictedPeak | None = None
    memory: Memory | None = None
    energy_joules: float | None = None
    energy: EnergyWindow | None = None
    layers: tuple[LayerCount, ...] = ()

    @property
    def dispatch_count(self) -> int | None:
        """How many operations one step dispatches; None where they were not counted."""
        return sum(count for _, count in self.dispatches) if self.dispatches else None

    @property
    def shown_peak(self) -> tuple[str, int] | None:
        """The one peak to show, and its name: measured on the device, else in the process, else predicted."""
        memory, predicted = self.memory, self.predicted_peak
        if memory and memory.peak_allocated_bytes is not None:
            return "peak_allocated_bytes", memory.peak_allocated_bytes
        if memory and memory.step_resident_bytes is not None:
            return "step_resident_bytes", memory.step_resident_bytes
        return ("predicted_peak_bytes", predicted.total_bytes) if predicted else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """How a cell begins in a freshly started Python; with `has_cache` an earlier one had left its compiled code.

    Attributes:
        python_seconds: From before it was started to our first line in it; `total_seconds` is all of it, the cost.
    """

    has_cache: bool
    python_seconds: float | None = None
    import_seconds: float | None = None
    build_seconds: float | None = None
    step_seconds: tuple[float, ...] = ()
    total_seconds: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One cell, measured: what was asked, where, what came out, and what to doubt about it.

    Attributes:
        tokens_per_example: Copied from the workload, so that tokens/s can be derived.
        final_loss: Loss of the last step; None in infer mode or where it is not finite.
        output_tail: The end of what the worker printed, for cells that did not end OK.
        peak: What the device can do in this precision, if `bench machine peaks` has measured it on this very machine.
        code: Hash of the model's source, or its package's version; None where the source cannot be found. With the cell
            and the environment it addresses the record: a resumed run measures again what differs.
        started_at: ISO 8601 with zone.
        duration_seconds: Duration of the whole cell, from its start to its result.
        ranks: Ranks of a cell of several processes; None for one.
        cold_starts: With `--cold-start`.
    """

    cell: Cell
    outcome: Outcome
    reason: str | None = None
    environment: Environment | None = None
    state: MachineState | None = None
    sampling: Sampling | None = None
    samples: tuple[Sample, ...] = ()
    counters: Counters = field(default_factory=Counters)
    advice: tuple[Advice, ...] = ()
    tokens_per_example: int | None = None
    final_loss: float | None = None
    output_tail: str | None = None
    peak: Peak | None = None
    code: str | None = None
    started_at: str
    duration_seconds: float
    stepbench: str
    ranks: RankSetup | None = None
    cold_starts: tuple[ColdStart, ...] = ()
    schema: int = SCHEMA

    def __repr__(self) -> str:
        """Name the cell, how it ended and what to doubt; whole, a record is pages of raw seconds."""
        said = ", ".join(f"{name}: {value}" if name == "doubts" else value for name, value in self._summary())
        return f"<Record {self.cell.id}: {said}>"

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        from html import escape

        rows = (("cell", self.cell.id), *self._summary())
        cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
        return f"<table>{cells}</table>"

    def _summary(self) -> tuple[tuple[str, str], ...]:
        from statistics import median  # commands that only name a record shall not pay for it

        seconds = self.sample_seconds(Phase.STEP)
        step = f"{format_seconds(median(seconds))} per step, median of {len(seconds)}" if seconds else ""
        doubts = ", ".join(dict.fromkeys(one.kind.value for one in self.advice))
        reason = f"{self.outcome.value}: {self.reason}" if self.reason else self.outcome.value
        return tuple(row for row in (("outcome", reason), ("step", step), ("doubts", doubts)) if row[1])

    def process_seconds(self, phase: Phase | str) -> tuple[tuple[float, ...], ...]:
        """Return the raw seconds of one phase, one series per fresh process; empty if it was not measured.

        Ranks that trained together are one series: a step ends when the last of them ends it, and the other phases are
        the mean over the ranks (`bench.core.record`).
        """
        samples = [sample for sample in self.samples if sample.phase == phase and sample.seconds]
        if self.cell.world_size == 1:
            return tuple(sample.seconds for sample in samples)
        join = joint_steps if phase is Phase.STEP else mean_steps
        processes = dict.fromkeys(sample.process for sample in samples)
        return tuple(join([s.seconds for s in samples if s.process == process]) for process in processes)

    def sample_seconds(self, phase: Phase | str) -> tuple[float, ...]:
        """Return the seconds of one phase, the series of all processes joined; empty if it was not measured."""
        return tuple(second for seconds in self.process_seconds(phase) for second in seconds)
