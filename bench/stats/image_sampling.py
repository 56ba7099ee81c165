"""What measured image sampling says, derived from its raw times on read.

image            (text encoding + all denoising steps + decoding) / batch, median over samplings
step             median over all denoising steps of all samplings, for the whole batch
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.core.estimate import Estimate
from bench.core.image_sampling import Sampled, SamplingCase, SamplingTimes
from bench.stats.estimate import estimate_median
from bench.stats.scaling import Line, fit_line


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSummary:
    """Derived figures of one case; each None where nothing was measured to derive it from."""

    image: Estimate | None = None
    encode: Estimate | None = None
    step: Estimate | None = None
    decode: Estimate | None = None
    images_per_second: float | None = None
    flops_per_second: float | None = None


def summarise_sampling(sampled: Sampled) -> SamplingSummary:
    """Derive every figure of a sampled case."""
    times = sampled.times
    if times is None or not times.encode_seconds:
        return SamplingSummary()
    batch = sampled.case.cell.batch_size
    steps = step_seconds(sampled)
    image = estimate_median([seconds / batch for seconds in total_seconds(times)])
    step = estimate_median(steps)
    flops = sampled.counts.flops_per_step if sampled.counts else None
    return SamplingSummary(
        image=image,
        encode=estimate_median(times.encode_seconds),
        step=step,
        decode=estimate_median(times.decode_seconds) if times.decode_seconds else None,
        images_per_second=1 / image.point if image.point > 0 else None,
        flops_per_second=flops / step.point if flops is not None and step.point > 0 else None,
    )


def step_seconds(sampled: Sampled) -> tuple[float, ...]:
    """Return the times of all denoising steps, sampling after sampling."""
    return tuple(s for sequence in sampled.times.step_seconds for s in sequence) if sampled.times else ()


def total_seconds(times: SamplingTimes) -> list[float]:
    """Add up each sampling of the batch: text, steps, decoding."""
    decodes = times.decode_seconds or (0.0,) * len(times.encode_seconds)
    return [
        encode + sum(steps) + decode
        for encode, steps, decode in zip(times.encode_seconds, times.step_seconds, decodes, strict=True)
    ]


def lines_over_steps(sampled: Sequence[Sampled]) -> tuple[tuple[SamplingCase, Line], ...]:
    """Fit seconds of a sampling = fixed + per step x steps over cases that differ in nothing but their steps.

    Returns:
        For each group with at least two numbers of steps its first case and the line, through all its samplings.
    """
    groups: dict[SamplingCase, list[Sampled]] = {}
    for one in sampled:
        if one.times is not None:
            groups.setdefault(replace(one.case, steps=1), []).append(one)
    lines = []
    for group in groups.values():
        points = [(one.case.steps, seconds) for one in group if one.times for seconds in total_seconds(one.times)]
        line = fit_line([steps for steps, _ in points], [seconds for _, seconds in points])
        if line is not None:
            lines.append((group[0].case, line))
    return tuple(lines)
