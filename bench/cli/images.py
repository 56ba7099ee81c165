"""Measure image generation: per image and denoising step.

Text and decoding are measured apart. Every combination runs in fresh processes. Weights are random, so the images are
noise but take the same time. `--resume RUN` measures what a run lacks. Exit code 5 if nothing could be measured.

Examples:
    bench images diffusion
    bench images diffusion --steps 10,50 --guidance 1,3 --sampler ddim,ddpm
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from bench.cli import options, slurm
from bench.cli.generate import How, measure_cases
from bench.core.errors import UsageError
from bench.core.text import with_option

PANEL = "Measure"

SAMPLERS = ("ddim", "ddpm")


@options.axes("batch_size", "device", "precision", "threads", "seed", defaults={"batch_size": 1})
@slurm.job_options
@options.fields_of("how", How)
def command(
    models: Annotated[list[str] | None, typer.Argument(help="Diffusion models.", show_default=False)] = None,
    steps: Annotated[
        list[str] | None, typer.Option(metavar="N,...", help="Denoising steps.", show_default="10")
    ] = None,
    resolution: Annotated[
        list[str] | None,
        typer.Option(metavar="N,...", help="Height and width in pixels.", show_default="the model's image_size"),
    ] = None,
    guidance: Annotated[
        list[str] | None,
        typer.Option(metavar="W,...", help="Weight of the text; 1 is no guidance and half the work.", show_default="1"),
    ] = None,
    sampler: Annotated[
        list[str] | None, typer.Option(metavar="NAME,...", help="ddim or ddpm.", show_default="ddim")
    ] = None,
    schedule: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,...", help="linear or cosine.", show_default="the model's schedule"),
    ] = None,
    *,
    axes: options.Axes,
    parts: Annotated[
        bool, typer.Option("--parts", help="Also time the parts of a training step at each batch size.")
    ] = False,
    how: How,
) -> int:
    from bench.core.generation import SamplingCase
    from bench.runner.scenarios import IMAGES

    sizes = options.read_numbers(resolution, "--resolution", int, (), 1)
    named = _with_options(models or [], "image_size", list(sizes))
    named = _with_options(named, "schedule", options.split(schedule or []))

    def cases() -> list[SamplingCase]:
        return [
            SamplingCase(cell=cell, steps=count, guidance=weight, sampler=name)
            for cell in options.read_cells(named, axes)
            for weight in options.read_numbers(guidance, "--guidance", float, (1.0,), 0.0)
            for name in _samplers(sampler)
            for count in options.read_numbers(steps, "--steps", int, (10,), 1)
        ]

    typed = (models, axes, steps, resolution, guidance, sampler, schedule, parts)
    return measure_cases(IMAGES, cases, how, typed=typed, has_parts=parts)


def _with_options(models: list[str], name: str, values: Sequence[object]) -> list[str]:
    """Set a model option to each of these values, for each model; without values return the models unchanged."""
    return [with_option(model, name, value) for model in models for value in values] if values else models


def _samplers(typed: list[str] | None) -> list[str]:
    names = options.split(typed or ["ddim"])
    unknown = [name for name in names if name not in SAMPLERS]
    if unknown:
        raise UsageError(f"no sampler named {unknown[0]!r}. Use one of: {', '.join(SAMPLERS)}")
    return list(dict.fromkeys(names))
