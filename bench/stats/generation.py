"""What one measured generation says, derived from its raw times on read.

time to first token    median over generations, the prefill and the choice of its token
inter-token latency    median, p90 and p99 over all further tokens of all generations
prefill tokens/s       batch x prompt / time to first token
decode tokens/s        batch / median inter-token latency
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.estimate import Estimate
from bench.core.generation import Generation
from bench.stats.estimate import estimate_median, quantile
from bench.stats.line import Line, fit_line


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSummary:
    """Derived figures of one case; each None where nothing was measured to derive it from.

    Attributes:
        token: Median of the inter-token latency with its interval.
        growth: Inter-token latency as a line over the tokens of the context before it.
        host_token_seconds: On an accelerator: median time the host took to launch a token.
    """

    first_token: Estimate | None = None
    token: Estimate | None = None
    token_p90_seconds: float | None = None
    token_p99_seconds: float | None = None
    prefill_tokens_per_second: float | None = None
    decode_tokens_per_second: float | None = None
    growth: Line | None = None
    host_token_seconds: float | None = None
    decode_flops_per_second: float | None = None


def summarise_generation(generation: Generation) -> GenerationSummary:
    """Derive every figure of a generation."""
    times, case = generation.times, generation.case
    if times is None:
        return GenerationSummary()
    batch = case.cell.batch_size
    first = estimate_median(times.first_token_seconds) if times.first_token_seconds else None
    tokens = [seconds for sequence in times.token_seconds for seconds in sequence]
    host = [seconds for sequence in times.host_token_seconds for seconds in sequence]
    token = estimate_median(tokens) if tokens else None
    per_second = batch / token.point if token and token.point > 0 else None
    counted = generation.counts.flops if generation.counts else None
    flops = counted.decode_flops if counted and case.uses_cache else None
    contexts = [case.prompt_tokens + place for sequence in times.token_seconds for place in range(len(sequence))]
    return GenerationSummary(
        first_token=first,
        token=token,
        token_p90_seconds=quantile(tokens, 0.9) if tokens else None,
        token_p99_seconds=quantile(tokens, 0.99) if tokens else None,
        prefill_tokens_per_second=batch * case.prompt_tokens / first.point if first and first.point > 0 else None,
        decode_tokens_per_second=per_second,
        growth=fit_line(contexts, tokens) if tokens else None,
        host_token_seconds=quantile(host, 0.5) if host else None,
        decode_flops_per_second=flops * per_second if flops is not None and per_second is not None else None,
    )
