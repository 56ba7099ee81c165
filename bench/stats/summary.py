"""What one Record says, derived from its raw samples on read: the one place where tables and reports get their figures.

step                 median of the unsplit step, with its interval
throughput           batch size * accumulate * world_size / step; every process has batches of its own
seconds_per_token    1 / (throughput * tokens of an example): what a token adds to a step, not the latency of one
phase_sum            sum of the phases' medians
residual_fraction    1 - phase_sum / step: the share of the step that no phase explains; beyond 20 % no phase is given
flops_per_second     FLOPs of the step / step; the model's FLOPs, without recomputation, of one process, as MFU wants
mfu                  flops_per_second / what a probe measured on this device in this precision
roofline             where the step lies under that device's roofline

What bounds a piece of work: the roofline model (S. Williams, A. Waterman, D. Patterson, CACM 52(4), 2009).

    attainable FLOP/s = min(peak FLOP/s, intensity * peak bytes/s)

intensity is FLOPs per byte. The bytes are those that operations read and write, each operation by itself: a lower bound
of the true intensity where a compiler fuses operations or a cache keeps what the next one reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bench.core.cell import Mode
from bench.core.estimate import Estimate
from bench.core.peaks import Peak
from bench.core.record import Phase, Record
from bench.stats.estimate import estimate_median_of_processes, spread, typical_seconds


class Bound(StrEnum):
    """The roof that a point meets first."""

    COMPUTE = "compute"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One point under the roof.

    Attributes:
        intensity: FLOPs per byte.
        flops_per_second: Reached; None where no time is known.
        attainable_flops_per_second: The roof above the point.
        fraction: Reached over attainable; may exceed 1 where caches save the memory from what operations read.
    """

    intensity: float
    flops_per_second: float | None
    attainable_flops_per_second: float
    bound: Bound
    fraction: float | None


def place(flops: int | None, bytes_touched: int | None, seconds: float | None, peak: Peak | None) -> Placement | None:
    """Place work under the roof of its device; None where FLOPs, bytes or the peaks are unknown or zero."""
    if not flops or not bytes_touched or peak is None or not peak.flops_per_second or not peak.bytes_per_second:
        return None
    intensity = flops / bytes_touched
    attainable = min(peak.flops_per_second, intensity * peak.bytes_per_second)
    reached = flops / seconds if seconds else None
    return Placement(
        intensity=intensity,
        flops_per_second=reached,
        attainable_flops_per_second=attainable,
        bound=Bound.COMPUTE if attainable == peak.flops_per_second else Bound.MEMORY,
        fraction=None if reached is None else reached / attainable,
    )


def model_flops_utilization(flops_per_second: float | None, peak_flops_per_second: float | None) -> float | None:
    """Divide the model's FLOP/s by the device's peak (MFU; A. Chowdhery et al., PaLM, 2022, appendix B).

    The model's FLOPs are those of its definition, forward and backward; recomputation does not raise the utilization.
    """
    if flops_per_second is None or not peak_flops_per_second:
        return None
    return flops_per_second / peak_flops_per_second


SPLIT_PHASES = (Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.OPTIMIZER)
"""The parts of a step in the order they run."""

NONSENSE_GAP = 0.2
"""Phases whose sum is further from the step, as its fraction, describe another step than the one that was timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Derived figures of one cell; each None where nothing was measured to derive it from.

    Attributes:
        step: Step of all processes.
        dispersion: IQR / median of the steps of all processes.
        phases: Median seconds of the phases that were measured, in the order they run, then those of one's own naming;
            without STEP. Empty where they do not add up.
        residual_fraction: Negative where the marks between phases cost time.
        flops_total: None in train mode as long as the backward FLOPs are unknown: forward alone is no step.
        mfu: Model FLOPs utilization against the measured peak; None where `bench machine peaks` was never run here.
        documented_mfu: The same against the data sheet's dense peak.
    """

    step: Estimate | None = None
    step_p10_seconds: float | None = None
    step_p90_seconds: float | None = None
    dispersion: float | None = None
    phases: tuple[tuple[Phase | str, float], ...] = ()
    phase_sum_seconds: float | None = None
    residual_fraction: float | None = None
    examples_per_second: float | None = None
    tokens_per_second: float | None = None
    seconds_per_token: float | None = None
    flops_total: int | None = None
    flops_per_second: float | None = None
    mfu: float | None = None
    documented_mfu: float | None = None
    roofline: Placement | None = None

    def phase(self, phase: Phase | str) -> float | None:
        """Return the median seconds of one phase, or None."""
        return dict(self.phases).get(phase)


def estimate_phase(record: Record, phase: Phase | str) -> Estimate | None:
    """Estimate the median seconds of one phase over all processes; None where no step of it was timed."""
    samples = record.process_seconds(phase)
    return estimate_median_of_processes(samples) if samples else None


def summarise(record: Record) -> Summary:
    """Derive every figure of a Record."""
    step = estimate_phase(record, Phase.STEP)
    seconds = record.sample_seconds(Phase.STEP)
    own = (sample.phase for sample in record.samples if sample.phase not in (*SPLIT_PHASES, Phase.STEP))
    series = ((phase, record.process_seconds(phase)) for phase in dict.fromkeys((*SPLIT_PHASES, *own)))
    phases = tuple((phase, typical_seconds(samples)) for phase, samples in series if samples)
    phase_sum = sum(seconds for _, seconds in phases) if phases else None
    latency = step.point if step is not None and step.point > 0 else None
    residual = 1 - phase_sum / latency if latency and phase_sum is not None else None
    examples = record.cell.examples_per_step / latency if latency else None
    tokens = record.tokens_per_example
    total = flops_total(record)
    rate = total / latency if latency and total is not None else None
    peak = record.peak
    low, high, dispersion = spread(seconds) if seconds else (None, None, None)
    return Summary(
        step=step,
        step_p10_seconds=low,
        step_p90_seconds=high,
        dispersion=dispersion,
        phases=() if residual is not None and abs(residual) > NONSENSE_GAP else phases,
        phase_sum_seconds=phase_sum,
        residual_fraction=residual,
        examples_per_second=examples,
        tokens_per_second=examples * tokens if examples and tokens is not None else None,
        seconds_per_token=1 / (examples * tokens) if examples and tokens else None,
        flops_total=total,
        flops_per_second=rate,
        mfu=model_flops_utilization(rate, peak.flops_per_second if peak else None),
        documented_mfu=model_flops_utilization(rate, peak.documented_flops_per_second if peak else None),
        roofline=place(total, record.counters.bytes_touched, latency, peak),
    )


def flops_total(record: Record) -> int | None:
    """Return the FLOPs of the whole step that the cell asks for, or None where a part of it is unknown."""
    flops = record.counters.flops
    if flops is None or (record.cell.mode is Mode.TRAIN and flops.backward is None):
        return None
    return flops.total
