"""What one measured generation says, derived from its raw times on read.

time to first token    median over generations, the prefill and the choice of its token
inter-token latency    median and tail over all further tokens of all generations
prefill tokens/s       batch x prompt / time to first token
decode tokens/s        batch / median inter-token latency

What measured image sampling says, derived from its raw times on read.

image            (text encoding + all denoising steps + decoding) / batch, median over samplings
step             median over all denoising steps of all samplings, for the whole batch

Where several processes took them, the intervals of all medians include the spread between processes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from bench.core.estimate import Estimate
from bench.core.generation import Generation, Sampled, SamplingCase, SamplingTimes
from bench.core.record import Outcome
from bench.stats.distributions import student_t_quantile
from bench.stats.estimate import estimate_median_of_processes, quantile
from bench.stats.scaling import Line, fit_line

T = TypeVar("T")

MIN_GENERATIONS = 3
"""Fewer carry no interval of what context costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Seconds per token of context: the mean over generations of each one's least-squares slope.

    Attributes:
        half_width: Of the 95 % interval (Student's t over the slopes): the tokens of one generation are correlated, so
            they count as one value. It covers this process only.
    """

    slope: float
    half_width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSummary:
    """Derived figures of one case; each None where nothing was measured to derive it from.

    Attributes:
        token: Median of the inter-token latency with its interval.
        growth: Seconds that each token of context adds to the next one.
        host_token_seconds: Median time the host took to launch a token on an accelerator.
    """

    first_token: Estimate | None = None
    token: Estimate | None = None
    prefill_tokens_per_second: float | None = None
    decode_tokens_per_second: float | None = None
    growth: Growth | None = None
    host_token_seconds: float | None = None
    decode_flops_per_second: float | None = None


def summarise_generation(generation: Generation) -> GenerationSummary:
    """Derive every figure of a generation."""
    times, case = generation.times, generation.case
    if times is None:
        return GenerationSummary()
    batch = case.cell.batch_size
    first = _median(times.first_token_seconds, times.processes)
    token = _median_of_all(times.token_seconds, times.processes)
    host = [seconds for sequence in times.host_token_seconds for seconds in sequence]
    per_second = batch / token.point if token and token.point > 0 else None
    counted = generation.counts.flops if generation.counts else None
    flops = counted.decode_flops if counted and case.uses_cache else None
    return GenerationSummary(
        first_token=first,
        token=token,
        prefill_tokens_per_second=batch * case.prompt_tokens / first.point if first and first.point > 0 else None,
        decode_tokens_per_second=per_second,
        growth=_growth(times.token_seconds, case.prompt_tokens),
        host_token_seconds=quantile(host, 0.5) if host else None,
        decode_flops_per_second=flops * per_second if flops is not None and per_second is not None else None,
    )


def _by_process(values: Sequence[T], processes: Sequence[int]) -> list[Sequence[T]]:
    """Part what has a value per generation or sampling by the process that took it; a damaged file has one process."""
    is_sound = min(processes, default=0) > 0 and sum(processes) == len(values)
    counts = processes if is_sound else (len(values),)
    ends = itertools.accumulate(counts)
    return [values[end - count : end] for count, end in zip(counts, ends, strict=True)]


def _median(seconds: Sequence[float], processes: Sequence[int]) -> Estimate | None:
    return estimate_median_of_processes(_by_process(seconds, processes)) if seconds else None


def _median_of_all(sequences: Sequence[Sequence[float]], processes: Sequence[int]) -> Estimate | None:
    parts = [list(itertools.chain.from_iterable(part)) for part in _by_process(sequences, processes)]
    return estimate_median_of_processes(parts) if all(parts) else None


def token_seconds(generation: Generation) -> tuple[float, ...]:
    """Return the times of all further tokens, generation after generation."""
    return tuple(s for sequence in generation.times.token_seconds for s in sequence) if generation.times else ()


def _growth(generations: Sequence[Sequence[float]], prompt: int) -> Growth | None:
    """Estimate what context costs; None for fewer than three generations or two tokens."""
    lines = [fit_line(range(prompt, prompt + len(tokens)), tokens) for tokens in generations if len(tokens) > 1]
    slopes = np.array([line.slope for line in lines if line is not None])
    if slopes.size < MIN_GENERATIONS:
        return None
    error = float(slopes.std(ddof=1)) / math.sqrt(slopes.size)
    return Growth(slope=float(slopes.mean()), half_width=student_t_quantile(0.975, int(slopes.size) - 1) * error)


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
    image = _median([seconds / batch for seconds in total_seconds(times)], times.processes)
    step = _median_of_all(times.step_seconds, times.processes)
    flops = sampled.counts.flops_per_step if sampled.counts else None
    return SamplingSummary(
        image=image,
        encode=_median(times.encode_seconds, times.processes),
        step=step,
        decode=_median(times.decode_seconds, times.processes),
        images_per_second=1 / image.point if image and image.point > 0 else None,
        flops_per_second=flops / step.point if flops is not None and step and step.point > 0 else None,
    )


def estimates_of(measured: Generation | Sampled) -> dict[str, Estimate | None]:
    """Return the medians that two runs of a case can be compared by, the most telling one first.

    None stands where nothing was measured, or where a case that did not end OK may have timed only a part.
    """
    is_ok = measured.outcome is Outcome.OK
    if isinstance(measured, Generation):
        text = summarise_generation(measured)
        found = {"token": text.token, "first token": text.first_token}
    else:
        images = summarise_sampling(measured)
        found = {"denoising step": images.step, "image": images.image}
    return {name: estimate if is_ok else None for name, estimate in found.items()}


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
