"""Generating text, measured: what was asked (`GenerationCase`), and what came of it (`Generation`).

prefill      the prompt is read in one pass; its end gives the first new token
decode       each further token is read alone; the cache stands for those before it

Sampling images from a diffusion model: what was asked (`SamplingCase`), and what was measured (`Sampled`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from bench.core.advice import Advice
from bench.core.cell import Cell, short_hash
from bench.core.environment import Environment, MachineState
from bench.core.jsonio import to_json
from bench.core.record import SCHEMA, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationCase:
    """One combination to be measured.

    Attributes:
        cell: Model, batch size, device, precision, threads and seed; always in infer mode.
        prompt_tokens: Tokens of every text of the batch.
        new_tokens: Generated per text, the first by the prefill.
        uses_cache: False reads the whole text again for every token, for comparison.
    """

    cell: Cell
    prompt_tokens: int
    new_tokens: int
    uses_cache: bool = True

    @property
    def id(self) -> str:
        """Name the case for people: `decoder_lm/infer/b1/cpu/fp32/p32+64`."""
        return f"{self.cell.id}/p{self.prompt_tokens}+{self.new_tokens}{'' if self.uses_cache else '/no-cache'}"

    @property
    def key(self) -> str:
        """Name the case for machines: 16 hex digits."""
        return short_hash(to_json(self) | {"cell": self.cell.key})

    @property
    def total_tokens(self) -> int:
        """Tokens of a text in the end; the last one is written and never read."""
        return self.prompt_tokens + self.new_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMemory:
    """What the cache takes at the end of one generation, in bytes.

    Attributes:
        predicted_bytes: Bytes by the model's formula; None where it states none.
        held_bytes: Bytes of all tensors that the cache really holds, each storage once.
        peak_allocated_bytes: Peak of the accelerator's allocator, weights included; None on the CPU.
    """

    predicted_bytes: int | None = None
    held_bytes: int | None = None
    peak_allocated_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFlops:
    """FLOPs per token, counted on tensors without storage, beside the rule of thumb.

    The rule (Kaplan et al., 2020): a token meets every weight once, 2 N FLOPs (1 MAC = 2), and every token before it in
    attention, 4 T A; training is three times that, 6 N + 12 T A. N leaves out embeddings that are only looked up; A is
    the width of the queries summed over layers; T the tokens attended to, all S of them in training, where the masked
    half is counted too.

    Attributes:
        weights: N.
        context_tokens: T of the last decoded token.
        prefill_flops: Counted for the whole prompt of one text.
        decode_flops: Counted for the last token of one text.
        decode_rule_flops: 2 N + 4 T A.
        training_flops: Counted forward and backward of the model's training step, per token.
        training_rule_flops: 6 N + 12 S A.
        training_tokens: S, the model's own sequence length.
    """

    weights: int | None = None
    context_tokens: int | None = None
    prefill_flops: int | None = None
    decode_flops: int | None = None
    decode_rule_flops: int | None = None
    training_flops: int | None = None
    training_rule_flops: int | None = None
    training_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationTimes:
    """Raw times, one entry per generation of the whole batch.

    Attributes:
        first_token_seconds: Time from the prompt on the device to the first new token.
        token_seconds: Time of each further token, in order; one sequence per generation.
        clock: `host`, or `device` for events on the device's stream.
        host_first_token_seconds: For the device clock: what the same took the host to launch.
        host_token_seconds: Likewise, of each further token.
        warmup_generations: Executed before, not counted.
        converged: The time per token was known within the target before the budget ended.
        processes: How many generations each process took, in their order, where there were several.
    """

    first_token_seconds: tuple[float, ...]
    token_seconds: tuple[tuple[float, ...], ...]
    clock: str = "host"
    host_first_token_seconds: tuple[float, ...] = ()
    host_token_seconds: tuple[tuple[float, ...], ...] = ()
    warmup_generations: int = 0
    converged: bool | None = None
    processes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationCounts:
    """What is read off a case without a clock; `reason` says why the FLOPs are missing."""

    parameters: int
    cache: CacheMemory | None = None
    flops: TokenFlops | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One case, measured; raw, and written to `generation/<key>.json` the moment it ends.

    Attributes:
        reason: Why it did not end OK; or, if it did, why nothing was counted.
        code: Hash of the source of the model.
        started_at: ISO 8601 with zone.
        duration_seconds: Duration of the whole case.
    """

    case: GenerationCase
    outcome: Outcome
    reason: str | None = None
    times: GenerationTimes | None = None
    counts: GenerationCounts | None = None
    environment: Environment | None = None
    state: MachineState | None = None
    advice: tuple[Advice, ...] = ()
    code: str | None = None
    started_at: str
    duration_seconds: float
    stepbench: str
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingCase:
    """One combination to be measured.

    Attributes:
        cell: Model (with its options, as image size and schedule), batch size, device, precision, threads, seed.
        steps: Denoising steps.
        guidance: Weight of the text; 1 is none, other weights denoise twice the batch.
        sampler: `ddim` or `ddpm`.
    """

    cell: Cell
    steps: int
    guidance: float = 1.0
    sampler: str = "ddim"

    @property
    def id(self) -> str:
        """Name the case for people: `diffusion/infer/b1/cpu/fp32/ddim10`, guidance where it is not 1."""
        guided = "" if self.guidance == 1.0 else f"/g{self.guidance:g}"
        return f"{self.cell.id}/{self.sampler}{self.steps}{guided}"

    @property
    def key(self) -> str:
        """Name the case for machines: 16 hex digits."""
        return short_hash(to_json(self) | {"cell": self.cell.key})


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingTimes:
    """Raw times, one entry per sampling of the whole batch.

    Attributes:
        encode_seconds: Time to encode the text.
        step_seconds: Duration of each denoising step, in order; one sequence per sampling.
        decode_seconds: After the last step; empty where the model has nothing to decode.
        clock: `host`, or `device` for events on the device's stream.
        warmup_samplings: Executed before, not counted.
        converged: The time per sampling was known within the target before the budget ended.
        processes: How many samplings each process took, in their order, where there were several.
    """

    encode_seconds: tuple[float, ...]
    step_seconds: tuple[tuple[float, ...], ...]
    decode_seconds: tuple[float, ...] = ()
    clock: str = "host"
    warmup_samplings: int = 0
    converged: bool | None = None
    processes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.step_seconds) != len(self.encode_seconds) or len(self.decode_seconds) not in (
            0,
            len(self.encode_seconds),
        ):
            raise ValueError("SamplingTimes: its parts are not of as many samplings")


Times = TypeVar("Times", GenerationTimes, SamplingTimes)


def joined(times: Sequence[Times]) -> Times:
    """Join what several processes took, in the order of the processes."""
    values: dict[str, Any] = {}
    for one in fields(times[0]):
        found = [getattr(each, one.name) for each in times]
        if isinstance(found[0], tuple):
            values[one.name] = tuple(itertools.chain.from_iterable(found))
    is_text = isinstance(times[0], GenerationTimes)
    warmups, once = ("warmup_generations", "first_token_seconds") if is_text else ("warmup_samplings", "encode_seconds")
    values[warmups] = sum(getattr(each, warmups) for each in times)
    values["processes"] = tuple(len(getattr(each, once)) for each in times) if len(times) > 1 else ()
    return replace(times[0], converged=all(each.converged for each in times), **values)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTimes:
    """Raw times of the parts of a training step, each with its name, in the order they run.

    The forward pass is divided as the model divides it; loss, backward and optimizer follow.
    """

    parts: tuple[tuple[str, tuple[float, ...]], ...]
    clock: str = "host"
    warmup_steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingCounts:
    """What is read off a case without a clock.

    Attributes:
        image_shape: Shape of one image: channels, height, width.
        flops_per_step: FLOPs of one denoising step of the batch; None where it could not be counted, `reason` says why.
        peak_allocated_bytes: Peak of the accelerator's allocator over text and one step; None on the CPU.
    """

    parameters: int
    image_shape: tuple[int, ...]
    flops_per_step: int | None = None
    peak_allocated_bytes: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """One case, measured; raw, and written to `sampling/<key>.json` the moment it ends.

    Attributes:
        reason: Why it did not end OK; or, if it did, why nothing was counted.
        code: Hash of the source of the model.
        training: Parts of a training step of the same batch; None where they were not asked for.
        started_at: ISO 8601 with zone.
    """

    case: SamplingCase
    outcome: Outcome
    reason: str | None = None
    times: SamplingTimes | None = None
    training: PartTimes | None = None
    counts: SamplingCounts | None = None
    environment: Environment | None = None
    state: MachineState | None = None
    advice: tuple[Advice, ...] = ()
    code: str | None = None
    started_at: str
    duration_seconds: float
    stepbench: str
    schema: int = SCHEMA
