"""Sample images from a diffusion model: encode the text, denoise step by step, decode; and the parts of its training.

`time_case` only times; `measure_case` counts and reads the allocator, in another process.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench import registry
from bench.core.cell import Mode
from bench.core.environment import MachineState
from bench.core.errors import ModelError
from bench.core.generation import PartTimes, SamplingCase, SamplingCounts, SamplingTimes
from bench.core.record import Sampling
from bench.core.workload import ImageSampler, Workload
from bench.counters.build import on_meta
from bench.counters.parameters import count_parameters
from bench.device.backend import backend_of
from bench.device.gradients import settle_scale
from bench.device.prepare import prepare
from bench.device.step import Step
from bench.measure.clock import Clock, clock_for
from bench.measure.scenarios.calls import count_call, repeat, trace_calls
from bench.measure.window import Window
from bench.stats.stopping import without_tail

WARMUP_STEPS = 3
"""A warm-up encodes the text and makes this many denoising steps."""

TRAINING_PARTS = ("loss", "backward", "optimizer")
"""What follows the parts of the forward pass."""


def sampler_of(workload: Workload, spec: str) -> ImageSampler:
    """Return how a workload samples images.

    Raises:
        ModelError: It does not.
    """
    if workload.sampler is None:
        raise ModelError(
            f"model {spec!r} does not sample images: its file has no make_noise, and its Workload no sampler; "
            "docs/diffusion.md says what they need"
        )
    return workload.sampler


def check_models(specs: Mapping[str, int], parts: bool) -> None:
    """Refuse, before anything is measured, what models cannot do: sample, in that many steps, in parts if asked.

    Raises:
        ModelError: One of them cannot.
    """
    for spec, steps in specs.items():
        sampler = sampler_of(registry.resolve(spec), spec)
        if parts and sampler.parts is None:
            raise ModelError(f"model {spec!r} does not tell the parts of its training step; leave out --parts")
        if sampler.max_steps is not None and steps > sampler.max_steps:
            raise ModelError(
                f"--steps: {steps} asked for, the noise schedule of model {spec!r} has {sampler.max_steps}; ask for at "
                "most that many, or for a model with a longer one"
            )


def time_case(
    case: SamplingCase, sampling: Sampling, gpu_uuid: str | None = None
) -> tuple[SamplingTimes, MachineState]:
    """Sample again and again, with a mark after each part; synchronises before and after each sampling only."""
    found: list[list[float]] = []
    has_decode = False
    window = Window(case.cell.device, gpu_uuid)
    with _prepared(case) as (model, sampler, text, noise):
        clock = window.clock
        has_decode = sampler.decode is not None
        beginning = replace(case, steps=min(case.steps, WARMUP_STEPS))

        def sample_once() -> float:
            clock.start()
            sample(case, sampler, model, text, noise, clock)
            seconds, _ = clock.collect()
            found.append(seconds)
            return sum(seconds)

        def steps() -> list[float]:
            return [second for seconds in found for second in seconds[1 : 1 + case.steps]]

        def warm_up() -> None:
            clock.start()
            sample(beginning, sampler, model, text, noise, clock)
            clock.collect()

        warmups, is_converged = repeat(sample_once, warm_up, case.cell.device, sampling, steps, window)
        state = window.state()
    times = SamplingTimes(
        encode_seconds=tuple(seconds[0] for seconds in found),
        step_seconds=tuple(tuple(seconds[1 : 1 + case.steps]) for seconds in found),
        decode_seconds=tuple(seconds[-1] for seconds in found) if has_decode else (),
        clock=clock.name,
        warmup_samplings=warmups,
        converged=is_converged,
    )
    return times, state


def sample(
    case: SamplingCase,
    sampler: ImageSampler,
    model: torch.nn.Module,
    text: Any,
    noise: torch.Tensor,
    clock: Clock | None = None,
) -> torch.Tensor:
    """Make the images of a case; a mark after the text, after every step and after decoding, if there is a clock."""
    context = sampler.encode(model, text, case.guidance)
    if clock is not None:
        clock.mark()
    images = noise
    for denoised in sampler.denoising(model, context, noise, case.steps, case.guidance, case.sampler):
        images = denoised
        if clock is not None:
            clock.mark()
    if sampler.decode is not None:
        images = sampler.decode(model, images)
        if clock is not None:
            clock.mark()
    return images


def measure_case(case: SamplingCase) -> SamplingCounts:
    """Sample once and read shapes and the allocator's peak; count one denoising step on tensors without storage."""
    workload = registry.resolve(case.cell.model)
    flops, reason, peak = None, None, None
    try:
        flops = _count_step(workload, case)
    except Exception as error:  # noqa: BLE001 - a user's model can raise anything; the rest stands without this
        reason = f"FLOPs could not be counted: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    with _prepared(case) as (model, sampler, text, noise):
        backend = backend_of(case.cell.device)
        backend.synchronize()
        backend.reset_peak()
        images = sample(replace(case, steps=1), sampler, model, text, noise)
        peak = backend.allocator().peak_allocated
        parameters = count_parameters(model).parameters
    return SamplingCounts(
        parameters=parameters,
        image_shape=tuple(images.shape[1:]),
        flops_per_step=flops,
        peak_allocated_bytes=peak,
        reason=reason,
    )


def trace_case(case: SamplingCase, path: str) -> str:
    """Write a trace of a few samplings; return in words what it holds."""
    with _prepared(case) as (model, sampler, text, noise):
        make = functools.partial(sample, case, sampler, model, text, noise)
        return trace_calls(make, model, case.id, case.cell.device, Path(path), "sampling")


def time_parts(case: SamplingCase, sampling: Sampling) -> PartTimes:
    """Time the parts of a training step of the case's batch: the forward pass as the model divides it, loss and so on.

    A mark after each part; on the CPU a part ends when its work does, on an accelerator its event tells. There a whole
    step is queued before, as in training: into an empty queue each part would wait for its own launches.
    """
    workload = registry.resolve(case.cell.model)
    sampler = sampler_of(workload, case.cell.model)
    assert sampler.parts is not None  # `check_models` has looked
    cell = replace(case.cell, mode=Mode.TRAIN)
    names: list[str] = []
    found: list[list[float]] = []
    with prepare(workload, cell) as step:
        settle_scale(step)
        clock = clock_for(cell.device)

        def train_once() -> float:
            clock.start(step if clock.name == "device" else None)
            names[:] = _train(step, sampler, clock)
            seconds, _ = clock.collect()
            found.append(seconds)
            return sum(seconds)

        warmups, _ = repeat(train_once, step, cell.device, without_tail(sampling))
    return PartTimes(
        parts=tuple((name, tuple(seconds[index] for seconds in found)) for index, name in enumerate(names)),
        clock=clock.name,
        warmup_steps=warmups,
    )


def _train(step: Step, sampler: ImageSampler, clock: Clock) -> list[str]:
    """Run one training step with a mark after each part; return their names."""
    assert sampler.parts is not None
    names: list[str] = []
    outputs: Any = None
    with step.precision():
        for name, value in sampler.parts(step.model, step.batch[0]):
            clock.mark()
            names.append(name)
            outputs = value
    loss = step.compute_loss(outputs)
    clock.mark()
    step.backward(loss)
    clock.mark()
    step.optimize()
    clock.mark()
    return [*names, *TRAINING_PARTS]


def _count_step(workload: Workload, case: SamplingCase) -> int | None:
    """Count the FLOPs of one denoising step of the whole batch, guidance included, without the text's encoding."""
    sampler = sampler_of(workload, case.cell.model)
    model = on_meta(workload.build_model).eval()
    text, noise = sampler.make_noise(case.cell.batch_size, "meta")
    with torch.inference_mode():
        context = sampler.encode(model, text, case.guidance)
    return count_call(
        model,
        lambda m, start: list(sampler.denoising(m, context, start, 1, case.guidance, case.sampler))[-1],
        noise,
    )


@contextlib.contextmanager
def _prepared(case: SamplingCase) -> Iterator[tuple[torch.nn.Module, ImageSampler, Any, torch.Tensor]]:
    """Build model, text and noise on the cell's device, in its precision, without gradients."""
    cell = replace(case.cell, mode=Mode.INFER, batch_size=1)  # a step's batch is made too, and not used
    workload = registry.resolve(cell.model)
    sampler = sampler_of(workload, cell.model)
    with prepare(workload, cell) as step, torch.inference_mode(), step.precision():
        text, noise = sampler.make_noise(case.cell.batch_size, torch.device(cell.device))
        yield step.model, sampler, text, noise.to(next(step.model.parameters()).dtype)
