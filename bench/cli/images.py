"""Measure image generation: per image and denoising step.

Text and decoding are measured apart. Every combination runs in fresh processes. Weights are random, so the images are
noise but take the same time. Exit code 5 if nothing could be measured.

Examples:
    bench images diffusion
    bench images diffusion --steps 10,50 --guidance 1,3 --sampler ddim,ddpm
"""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli import options
from bench.cli.output import answer, results_place
from bench.core.errors import UsageError

PANEL = "Measure"

SAMPLERS = ("ddim", "ddpm")


@options.axes("batch_size", "device", "precision", "threads", "seed", defaults={"batch_size": 1})
def command(
    models: Annotated[list[str], typer.Argument(help="Diffusion models.", show_default=False)],
    steps: Annotated[
        list[str] | None, typer.Option(metavar="N,...", help="Denoising steps.", show_default="10")
    ] = None,
    resolution: Annotated[
        list[str] | None,
        typer.Option(metavar="N,...", help="Pixels, height and width.", show_default="the model's image_size"),
    ] = None,
    guidance: Annotated[
        list[str] | None,
        typer.Option(metavar="W,...", help="Weight of the text; 1 is none and half the work.", show_default="1"),
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
    parts: Annotated[bool, typer.Option("--parts", help="Also the parts of a training step of each batch.")] = False,
    budget: options.BudgetOption = None,
    target: options.TargetOption = 0.02,
    tail: options.TailOption = False,
    latency: options.LatencyOption = None,
    results: options.ResultsOption = options.RESULTS,
    quiet: options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.cli.progress import stoppable, watching
    from bench.core.generation import SamplingCase
    from bench.runner.scenarios import run_sampling
    from bench.tables.scenarios import sampling_document
    from bench.tables.tails import tailed_cases

    sizes = options.read_numbers(resolution, "--resolution", int, (), 1)
    named = _with_options(models, "image_size", [str(size) for size in sizes])
    named = _with_options(named, "schedule", options.split(schedule or []))
    cases = [
        SamplingCase(cell=cell, steps=count, guidance=weight, sampler=name)
        for cell in options.read_cells(named, axes)
        for weight in options.read_numbers(guidance, "--guidance", float, (1.0,), 0.0)
        for name in _samplers(sampler)
        for count in options.read_numbers(steps, "--steps", int, (10,), 1)
    ]
    limit = options.read_limit(latency)
    sampling = options.read_sampling(budget, target, has_tail=tail)
    with stoppable(), watching(quiet or format is options.Format.JSON) as watch:
        finished = run_sampling(cases, sampling=sampling, results=results, watch=watch, parts=parts)
    cases_with_tail = tailed_cases(finished.images)
    checked = cases_with_tail.check(limit)
    answer(
        "images",
        format,
        lambda: [
            *sampling_document(finished.images),
            *cases_with_tail.document(checked, has_tail=tail),
            results_place(finished.folder),
        ],
        folder=str(finished.folder),
        images=finished.images,
        latency=checked,
    )
    return options.exit_code([one.outcome for one in finished.images], checked)


def _with_options(models: list[str], name: str, values: list[str]) -> list[str]:
    """Set a model option to each of these values, for each model; as they are where there are none."""
    from bench.registry.spec import parse

    if not values:
        return models
    return [f"{model}{',' if parse(model).options else '@'}{name}={value}" for model in models for value in values]


def _samplers(typed: list[str] | None) -> list[str]:
    names = options.split(typed or ["ddim"])
    unknown = [name for name in names if name not in SAMPLERS]
    if unknown:
        raise UsageError(f"no sampler named {unknown[0]!r}. Use one of: {', '.join(SAMPLERS)}")
    return list(dict.fromkeys(names))
