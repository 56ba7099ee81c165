"""Doubts about figures: their kinds and facts, and those that the state of the machine gives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bench.core.environment import BUSY_CORES_LIMIT, SHARED_LOAD, MachineState
from bench.core.peaks import Peak


class AdviceKind(StrEnum):
    """Doubts and hints. The facts stand in the value; the words are made in `tables/advice`."""

    NOISY_SAMPLES = "noisy-samples"  # the interval did not reach the target within the budget
    FEW_SAMPLES = "few-samples"  # too few steps for an interval
    WARMUP_UNSETTLED = "warmup-unsettled"  # steps still changed when warm-up ended; in records before 2026-11-29
    DRIFTING_SAMPLES = "drifting-samples"  # the last third of the steps differs from the first
    LAUNCH_BOUND = "launch-bound"  # the host is slower than the device
    BUSY_MACHINE = "busy-machine"  # fewer free cores than threads
    LOW_PEAKS = "low-peaks"  # the device's peaks were measured on a busy machine
    THROTTLED_CLOCK = "throttled-clock"  # the device lowered its clock
    CLOCK_NOT_LOCKED = "clock-not-locked"  # locking the device's clock was asked for, and refused
    SHARED_GPU = "shared-gpu"  # others compute on the GPU
    PHASE_GAP = "phase-gap"  # the phases do not add up to the step
    FLOPS_DISAGREE = "flops-disagree"  # two counters differ
    FLOPS_LOWER_BOUND = "flops-lower-bound"  # operations without a formula were dispatched
    FLOPS_UNMEASURED = "flops-unmeasured"  # no count could be made
    SKIPPED_UPDATES = "skipped-updates"  # fp16 gradients overflowed, so timed steps left the optimizer out
    NONFINITE_LOSS = "nonfinite-loss"  # the loss is NaN or infinite
    RANDOM_STEP = "random-step"  # counts differ with the seed
    GRAD_MODE = "grad-mode"  # the model differentiates in its forward pass: no inference mode
    COUNT_FAILED = "count-failed"  # a counter raised; the timing stands
    MEMORY_UNMEASURED = "memory-unmeasured"  # the peak could not be read
    MEMORY_TOO_SMALL = "memory-too-small"  # the predicted peak exceeds the free memory; not tried
    OVERSUBSCRIBED = "oversubscribed"  # the ranks of a cell have more threads than there are cores
    SETTINGS_CHANGED = "settings-changed"  # the model changed torch's settings: threads, default dtype, flags
    BATCH_TOO_SMALL = "batch-too-small"  # most of a step costs the same whatever the batch
    OPTIMIZER_DOMINATED = "optimizer-dominated"  # updating the weights takes a large share of the step
    MEMORY_BOUND_LAYER = "memory-bound-layer"  # a layer waits for memory, not for arithmetic
    HIDDEN_SYNC = "hidden-sync"  # a line makes the host wait for the device
    UNUSED_PARAMETERS = "unused-parameters"  # parameters without a gradient after a step
    RECOMPILATION = "recompilation"  # torch.compile compiled again after the first step
    TF32_OFF = "tf32-off"  # the device's matrix units are not used for fp32
    CHANNELS_LAST = "channels-last"  # convolutions may be, or were measured to be, faster in that layout
    BF16_SLOWER = "bf16-slower"  # measured: fp32 is faster here
    PROFILER_OVERHEAD = "profiler-overhead"  # the profiler cost much of the profiled step
    DATA_STARVED = "data-starved"  # the step waits for its input pipeline


UNFIT_TO_COMPARE = frozenset(
    {AdviceKind.BUSY_MACHINE, AdviceKind.THROTTLED_CLOCK, AdviceKind.SHARED_GPU, AdviceKind.SETTINGS_CHANGED}
)
"""Doubts that make a time no measure of the code: it is compared with no other."""

NEEDS_MORE_STEPS = frozenset(
    {
        AdviceKind.FEW_SAMPLES,
        AdviceKind.NOISY_SAMPLES,
        AdviceKind.DRIFTING_SAMPLES,
        AdviceKind.WARMUP_UNSETTLED,
    }
)
"""Doubts that a longer measurement cures."""

DOUBTED = "doubted"
"""What `--retry` calls a cell with a doubt of one of these two kinds."""


MOST_LAUNCHES_TOLD = 10_000
"""A device's queue holds about 1,000: launching more than this into an empty one mostly waits for room in it, whatever
binds the step. Then nobody can say that it is launch-bound."""


Facts = tuple[tuple[str, str | int | float], ...]
"""Names and values, with SI units in the names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One doubt or hint, with the facts behind it."""

    kind: AdviceKind
    facts: Facts = ()


def doubts_of_machine(state: MachineState, device: str) -> tuple[Advice, ...]:
    """Return what to doubt about times that were taken while the machine was in this state."""
    advice: tuple[Advice, ...] = ()
    if state.other_busy_cores is not None and state.other_busy_cores > BUSY_CORES_LIMIT:
        facts = (("other_busy_cores", round(state.other_busy_cores, 2)), ("load_1m", state.load_1m or 0.0))
        advice += (Advice(kind=AdviceKind.BUSY_MACHINE, facts=facts),)
    if state.gpu_throttle_reasons:
        shares: Facts = tuple((f"{reason}_fraction", round(share, 3)) for reason, share in state.gpu_throttled or ())
        facts_gpu = (("reasons", ", ".join(state.gpu_throttle_reasons)), ("device", device), *shares)
        advice += (Advice(kind=AdviceKind.THROTTLED_CLOCK, facts=facts_gpu),)
    load = state.gpu_load_before or 0.0
    if state.gpu_other_processes:
        others: Facts = (("other_processes", state.gpu_other_processes), ("device", device))
        advice += (Advice(kind=AdviceKind.SHARED_GPU, facts=others),)
    elif load > SHARED_LOAD:
        advice += (Advice(kind=AdviceKind.SHARED_GPU, facts=(("load_fraction", load), ("device", device))),)
    return advice


def doubts_of_peak(peak: Peak | None) -> tuple[Advice, ...]:
    """Return what to doubt about utilization and rooflines under this peak."""
    if peak is None or not peak.is_doubtful:
        return ()
    facts = (("other_busy_cores", round(peak.other_busy_cores or 0.0, 2)), ("measured_at", peak.measured_at))
    return (Advice(kind=AdviceKind.LOW_PEAKS, facts=facts),)
