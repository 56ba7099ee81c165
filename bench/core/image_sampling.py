"""Sampling images from a diffusion model: what was asked (`SamplingCase`), and what was measured (`Sampled`)."""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.cell import Cell, short_hash
from bench.core.environment import Environment, MachineState
from bench.core.jsonio import to_json
from bench.core.record import SCHEMA, Advice, Outcome


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
    """

    encode_seconds: tuple[float, ...]
    step_seconds: tuple[tuple[float, ...], ...]
    decode_seconds: tuple[float, ...] = ()
    clock: str = "host"
    warmup_samplings: int = 0
    converged: bool | None = None

    def __post_init__(self) -> None:
        if len(self.step_seconds) != len(self.encode_seconds) or len(self.decode_seconds) not in (
            0,
            len(self.encode_seconds),
        ):
            raise ValueError("SamplingTimes: its parts are not of as many samplings")


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
    started_at: str
    duration_seconds: float
    stepbench: str
    schema: int = SCHEMA
