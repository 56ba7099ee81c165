"""Measured cases by hand, for the tests of statistics, reports and files."""

from __future__ import annotations

from dataclasses import replace

from bench.core.cell import Cell, Mode
from bench.core.generation import (
    CacheMemory,
    Generation,
    GenerationCase,
    GenerationCounts,
    GenerationTimes,
    PartTimes,
    Sampled,
    SamplingCase,
    SamplingCounts,
    SamplingTimes,
    TokenFlops,
)
from bench.core.record import Outcome

STAMP = {"started_at": "2026-11-23T12:00:00+00:00", "duration_seconds": 2.0, "stepbench": "0.1.0"}


def make_generation(*, batch_size: int = 4, prompt: int = 32, uses_cache: bool = True, repeats: int = 8) -> Generation:
    """Take 20 ms to the first token, then 1 ms and about 1 µs per token of context; 10 tokens."""
    case = GenerationCase(
        cell=Cell(model="decoder_lm", mode=Mode.INFER, batch_size=batch_size),
        prompt_tokens=prompt,
        new_tokens=11,
        uses_cache=uses_cache,
    )
    slopes = [1e-6 * (1 + 0.02 * (repeat - (repeats - 1) / 2)) for repeat in range(repeats)]
    tokens = tuple(tuple(1e-3 + slope * (prompt + place) for place in range(10)) for slope in slopes)
    held = 2 * 1024 * batch_size * (prompt + 10)
    return Generation(
        case=case,
        outcome=Outcome.OK,
        times=GenerationTimes(
            first_token_seconds=(0.020,) * repeats,
            token_seconds=tokens,
            warmup_generations=2,
            converged=True,
        ),
        counts=GenerationCounts(
            parameters=780_928,
            cache=CacheMemory(predicted_bytes=held, held_bytes=held) if uses_cache else None,
            flops=TokenFlops(
                weights=653_000,
                context_tokens=prompt + 10,
                prefill_flops=40_000_000,
                decode_flops=1_350_000,
                decode_rule_flops=1_351_280,
                training_flops=4_000_000,
                training_rule_flops=4_003_840,
                training_tokens=48,
            ),
        ),
        **STAMP,
    )


FAILED_GENERATION = replace(
    make_generation(prompt=4096),
    outcome=Outcome.OUT_OF_MEMORY,
    reason="RuntimeError: can't allocate memory",
    times=None,
    counts=None,
)


def make_sampled(steps: int, *, guidance: float = 1.0, training: bool = False, repeats: int = 8) -> Sampled:
    """Take 2 ms for the text and 10 ms per step of a batch of 2."""
    case = SamplingCase(
        cell=Cell(model="diffusion", mode=Mode.INFER, batch_size=2), steps=steps, guidance=guidance, sampler="ddim"
    )
    parts = tuple((name, (1e-3 * (place + 1),) * 6) for place, name in enumerate(("text encode", "denoise", "loss")))
    return Sampled(
        case=case,
        outcome=Outcome.OK,
        times=SamplingTimes(
            encode_seconds=(0.002,) * repeats, step_seconds=((0.010,) * steps,) * repeats, converged=True
        ),
        training=PartTimes(parts=parts) if training else None,
        counts=SamplingCounts(parameters=294_659, image_shape=(3, 16, 16), flops_per_step=82_000_000),
        **STAMP,
    )
