"""`bench sample`: how fast diffusion models make images, split into text, denoising steps and decoding."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options, scenario_options
from bench.cli.output import look, print_json
from bench.core.errors import SuiteError

SAMPLERS = ("ddim", "ddpm")


def command(
    models: Annotated[list[str], typer.Argument(help="Diffusion models.", show_default=False)],
    steps: Annotated[
        list[str] | None, typer.Option(metavar="N,...", help="Denoising steps (10).", show_default=False)
    ] = None,
    resolution: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N,...", help="Pixels, height and width: the model's option image_size.", show_default=False
        ),
    ] = None,
    guidance: Annotated[
        list[str] | None,
        typer.Option(metavar="W,...", help="Weight of the text (1: none, half the work).", show_default=False),
    ] = None,
    sampler: Annotated[
        list[str] | None, typer.Option(metavar="NAME,...", help="ddim or ddpm (ddim).", show_default=False)
    ] = None,
    schedule: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,...", help="linear or cosine: the model's option schedule.", show_default=False),
    ] = None,
    batch_size: options.BatchOption = None,
    device: options.DeviceOption = None,
    precision: options.PrecisionOption = None,
    threads: options.ThreadsOption = None,
    seed: options.SeedOption = None,
    parts: Annotated[bool, typer.Option("--parts", help="Also the parts of a training step of each batch.")] = False,
    budget: scenario_options.BudgetOption = None,
    target: scenario_options.TargetOption = 0.02,
    results: options.ResultsOption = Path("results"),
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Measure image sampling: seconds per image and per denoising step, text and decoding apart.

    Every combination runs in fresh processes. Weights are random, so images are noise and cost what they cost. Exit
    code 5 if nothing could be measured.
    """
    from bench.cli.stopping import stoppable
    from bench.core.image_sampling import SamplingCase
    from bench.runner.scenarios import run_sampling
    from bench.tables.scenarios import sampling_report

    axes = options.read_axes(batch_size=batch_size, device=device, precision=precision, threads=threads, seed=seed)
    sizes = scenario_options.read_numbers(resolution, "--resolution", int, (), 1)
    named = _with_options(models, "image_size", [str(size) for size in sizes])
    named = _with_options(named, "schedule", options.split(schedule or []))
    cases = [
        SamplingCase(cell=cell, steps=count, guidance=weight, sampler=name)
        for cell in scenario_options.read_cells(named, axes)
        for weight in scenario_options.read_numbers(guidance, "--guidance", float, (1.0,), 0.0)
        for name in _samplers(sampler)
        for count in scenario_options.read_numbers(steps, "--steps", int, (10,), 1)
    ]
    sampling = scenario_options.read_sampling(budget, target)
    with stoppable(), scenario_options.watching(quiet or format is options.Format.JSON) as watch:
        finished = run_sampling(cases, sampling=sampling, results=results, watch=watch, parts=parts)
    if format is options.Format.JSON:
        print_json("sample", folder=str(finished.folder), sampled=finished.measured)
    else:
        print(sampling_report(finished.measured, **look()))
        print(f"Results: {finished.folder}")
    return scenario_options.exit_code([one.outcome for one in finished.measured])


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
        raise SuiteError(f"no sampler named {unknown[0]!r}. Use one of: {', '.join(SAMPLERS)}")
    return list(dict.fromkeys(names))
