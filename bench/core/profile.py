"""Where the time of a step goes: by layer and phase, by operation, and what to try about it.

Every list of rows accounts for the whole step: what belongs to no layer is a row whose name is in parentheses.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

from bench.core.advice import Advice, AdviceKind
from bench.core.cell import Cell
from bench.core.record import SCHEMA, FlopCount, OfPhase, Phase, phase_of
from bench.core.units import known_sum

LOSS = "(loss)"
UNATTRIBUTED = "(unattributed)"
AUTOGRAD = "(autograd)"
GRADIENTS = "(gradients)"
OPTIMIZER = "(optimizer)"
ZERO_GRAD = "(zero_grad)"
IDLE = "(idle)"
PYTHON = "(python)"
COMPILED = "(compiled graph {})"

MEANINGS: dict[str, str] = {
    LOSS: "the loss, forward and backward",
    UNATTRIBUTED: "inside the step, but in no layer",
    AUTOGRAD: "the autograd engine between two nodes",
    GRADIENTS: "storing and adding up the gradients of parameters",
    OPTIMIZER: "the update of the weights",
    ZERO_GRAD: "dropping the gradients",
    IDLE: "the device had nothing to do",
    PYTHON: "the interpreter, between two operations",
}
"""Rows that are no layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOptions:
    """What to do besides attributing time.

    Attributes:
        steps: Profiled steps; None takes what two seconds hold.
        is_with_memory: Follow the tensors alive over a step.
        is_trying: Measure the options that the advice names.
        trace: File to write a trace to.
    """

    steps: int | None = None
    is_with_memory: bool = False
    is_trying: bool = False
    trace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseCost(OfPhase):
    """What one row costs in one phase of a step.

    Attributes:
        seconds: Seconds of the clock of the profile, per step, without what the profiler itself cost.
        profiled_seconds: Seconds as the profiler saw them.
        host_seconds: Time the host spent launching it on an accelerator, as profiled; else None.
        events: What the profiler recorded in it, per step.
        flops: 1 MAC = 2; None where they cannot be given to this row.
        bytes_touched: Read and written by its operations, caches ignored.
    """

    seconds: float
    profiled_seconds: float
    host_seconds: float | None = None
    events: float = 0.0
    flops: int | None = None
    bytes_touched: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledLayer:
    """One module by itself, without its children; or a row in parentheses.

    Attributes:
        name: Dotted path, `` for the model itself.
        type: Class of the module; `` for a row that is no layer.
        calls: Calls in the forward pass of one step.
        activation_bytes: Bytes of the outputs of all calls.
        costs: One per phase in which it costs anything.
    """

    name: str
    type: str = ""
    calls: int = 0
    parameters: int = 0
    activation_bytes: int | None = None
    output_shape: tuple[int, ...] | None = None
    costs: tuple[PhaseCost, ...] = ()

    @property
    def seconds(self) -> float:
        """Of all phases."""
        return sum(cost.seconds for cost in self.costs)

    @property
    def flops(self) -> int | None:
        """Of all phases; None where nothing is known."""
        return known_sum(cost.flops for cost in self.costs)

    @property
    def bytes_touched(self) -> int | None:
        """Of all phases; None where nothing is known."""
        return known_sum(cost.bytes_touched for cost in self.costs)

    @property
    def arithmetic_intensity(self) -> float | None:
        """FLOPs per byte touched; None without either."""
        flops, size = self.flops, self.bytes_touched
        return flops / size if flops and size else None

    def seconds_in(self, phase: Phase | str) -> float:
        """Of one phase; 0 where it costs nothing there."""
        return sum(cost.seconds for cost in self.costs if cost.phase == phase)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCost:
    """One operation by itself, without those it calls; all layers together.

    Attributes:
        name: Name as torch's profiler names it, `aten::mm`.
        calls: Per step.
        seconds: Seconds of the profile's clock, without what the profiler cost.
        host_seconds: Seconds of the host, as in `PhaseCost`.
        bytes_touched: None where it is not one that touches tensors.
    """

    name: str
    calls: float
    seconds: float
    profiled_seconds: float
    host_seconds: float | None = None
    bytes_touched: int | None = None


class IdleCause(StrEnum):
    """Why a device had nothing to do."""

    LAUNCH_BOUND = "launch-bound"  # the host launched the next kernel only after the last had ended
    SYNCHRONISATION = "synchronisation"  # the host waited for the device, and launched nothing meanwhile
    QUEUED = "queued"  # the next kernel had been launched already: the device's own overhead between two


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleGap:
    """All gaps of one cause on the device, per step, as profiled.

    Attributes:
        before: The operation that ended the longest of them.
        layer: Where that operation belongs.
    """

    cause: IdleCause
    gaps: float
    seconds: float
    longest_seconds: float
    before: str = ""
    layer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPoint:
    """A line that makes the host wait for the device (on a CPU it costs nothing, on an accelerator it will).

    Attributes:
        operation: What reads the value, `aten._local_scalar_dense` is `.item()`.
        file: File of the user's line; None if no code of the user was running.
        code: The line itself.
        calls: Calls per step.
    """

    operation: str
    phase: Phase | str
    layer: str
    calls: int
    file: str | None = None
    line: int | None = None
    code: str | None = None

    def __post_init__(self) -> None:
        """Read the name of a phase as that phase."""
        object.__setattr__(self, "phase", phase_of(self.phase))


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPoint(OfPhase):
    """Bytes of the tensors alive at one instant of a step, by cause; fields as in `PredictedPeak`."""

    weights_bytes: int
    gradients_bytes: int
    optimizer_state_bytes: int
    inputs_bytes: int
    saved_activations_bytes: int
    temporary_bytes: int

    @property
    def total_bytes(self) -> int:
        """All causes."""
        total: int = sum(getattr(self, one.name) for one in fields(self) if one.name != "phase")
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasePeak(OfPhase):
    """What the accelerator's allocator held in one phase: at most, and at its end."""

    peak_allocated_bytes: int
    end_allocated_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryProfile:
    """Memory over one steady step.

    Attributes:
        points: Points in order of time, one per allocation or free, thinned out; the highest is always there.
        measured: Peaks of the allocator in a real step; empty on the CPU, whose allocator keeps no account.
        method: Kind of tensors that the points were taken on.
    """

    points: tuple[MemoryPoint, ...]
    measured: tuple[PhasePeak, ...] = ()
    method: str = ""

    @property
    def peak(self) -> MemoryPoint:
        """The highest instant."""
        return max(self.points, key=lambda point: point.total_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartUp:
    """What happened before steps were steady.

    Attributes:
        build_seconds: Building the model, the batch and the optimizer on the device.
        first_step_seconds: With lazy initialisation, choice of kernels and compilation.
        second_step_seconds: What is left of that.
    """

    build_seconds: float
    first_step_seconds: float
    second_step_seconds: float

    @property
    def cold_seconds(self) -> float:
        """From nothing to the end of the first step."""
        return self.build_seconds + self.first_step_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphBreak:
    """Where the compiler had to leave a graph, and why."""

    reason: str
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """What torch.compile did.

    Attributes:
        graphs: Compiled in the first step.
        recompilations: Graphs compiled after it, in steps that were all alike.
        batches_tried: Batch sizes the model was also fed with; empty where that was not asked for.
        batch_recompilations: Graphs compiled for them.
    """

    graphs: int
    breaks: tuple[GraphBreak, ...] = ()
    recompilations: int = 0
    batches_tried: tuple[int, ...] = ()
    batch_recompilations: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An option that was tried: this cell and a changed one, interleaved in one process.

    Attributes:
        kind: The advice it belongs to.
        option: Option as typed on the command line.
        cell: The changed cell.
        base_seconds: Per example, median.
        tried_seconds: Per example, median; None where it could not run.
        ratio: Tried over base, per example: 0.8 is 20 % less time.
        low: Lower end of the ratio's 95 % interval, for this process only. None with too few pairs.
        pairs: Pairs of blocks, in ABBA order.
        reason: Why it could not run.
    """

    kind: AdviceKind
    option: str
    cell: Cell
    base_seconds: float | None = None
    tried_seconds: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    pairs: int = 0
    reason: str | None = None

    @property
    def has_helped(self) -> bool:
        """Whether the whole interval is on the faster side."""
        return self.high is not None and self.high < 1

    @property
    def has_hurt(self) -> bool:
        """Whether the whole interval is on the slower side."""
        return self.low is not None and self.low > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Where the time of one cell's step goes.

    Attributes:
        clock: `host`, or `device` where rows are times of an accelerator.
        step_seconds: Median of the step without the profiler: what the rows sum to.
        steps_seconds: The raw steps behind it.
        profiled_step_seconds: The same steps under the profiler, alternating with the others: mean of the middle half.
        profiled_steps: How many of those are behind the rows.
        host_step_seconds: Time the host takes to launch a step into an accelerator's empty queue, without the profiler.
        layers: Layers in the model's order, then rows in parentheses; they sum to `step_seconds` and `flops`.
        operators: Most seconds first; they sum to `step_seconds` too.
        flops: FLOPs of the whole step; None where they could not be counted.
        flops_per_byte: Balance of the device, where its peaks were measured: layers below are bound by memory.
        notes: What could not be done, and why.
        trace: File of the trace, where one was asked for; `trace_note` says what was left out of it.
    """

    cell: Cell
    clock: str = "host"
    step_seconds: float
    steps_seconds: tuple[float, ...] = ()
    profiled_step_seconds: float
    profiled_steps: int
    host_step_seconds: float | None = None
    layers: tuple[ProfiledLayer, ...] = ()
    operators: tuple[OperatorCost, ...] = ()
    flops: FlopCount | None = None
    flops_per_byte: float | None = None
    idle: tuple[IdleGap, ...] = ()
    syncs: tuple[SyncPoint, ...] = ()
    memory: MemoryProfile | None = None
    start_up: StartUp | None = None
    compilation: Compilation | None = None
    advice: tuple[Advice, ...] = ()
    trials: tuple[Trial, ...] = ()
    notes: tuple[str, ...] = ()
    trace: str | None = None
    trace_note: str | None = None
    stepbench: str = ""
    schema: int = SCHEMA

    @property
    def overhead_fraction(self) -> float:
        """How much longer a step takes under the profiler: 0.05 is 5 %."""
        return self.profiled_step_seconds / self.step_seconds - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One row of two profiles.

    Attributes:
        before: Seconds per step; None where the row was added.
        after: None where it was removed.
        before_flops: None where unknown or added.
    """

    name: str
    before: float | None
    after: float | None
    before_flops: int | None = None
    after_flops: int | None = None

    @property
    def seconds(self) -> float:
        """After minus before; a row that is missing took no time."""
        return (self.after or 0.0) - (self.before or 0.0)

    @property
    def flops(self) -> int:
        """After minus before."""
        return (self.after_flops or 0) - (self.before_flops or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileDiff:
    """What changed between two profiles; each list of rows sums to the change of the step, largest change first.

    Attributes:
        noise_seconds: Half the spread (10 % to 90 %) of the steps of either side: smaller changes say nothing.
        doubts: How the two were measured differently.
    """

    before: Cell
    after: Cell
    before_seconds: float
    after_seconds: float
    layers: tuple[Change, ...]
    operators: tuple[Change, ...]
    noise_seconds: float
    doubts: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """After minus before, of the whole step."""
        return self.after_seconds - self.before_seconds
