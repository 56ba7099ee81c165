"""`bench generate`: how fast language models write, split into reading the prompt and each token after it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options, scenario_options
from bench.cli.output import look, print_json


def command(
    models: Annotated[list[str], typer.Argument(help="Language models.", show_default=False)],
    prompt: Annotated[
        list[str] | None, typer.Option(metavar="N,...", help="Tokens of the prompt (32).", show_default=False)
    ] = None,
    new_tokens: Annotated[
        list[str] | None, typer.Option(metavar="N,...", help="Tokens to write per text (64).", show_default=False)
    ] = None,
    batch_size: options.BatchOption = None,
    device: options.DeviceOption = None,
    precision: options.PrecisionOption = None,
    threads: options.ThreadsOption = None,
    seed: options.SeedOption = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Also without a cache, for comparison: the whole text for every token.")
    ] = False,
    budget: scenario_options.BudgetOption = None,
    target: scenario_options.TargetOption = 0.02,
    results: options.ResultsOption = Path("results"),
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")] = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Measure text generation: time to first token, time per token, memory of the cache, FLOPs per token.

    Every combination of model, prompt, new tokens, batch size, device and precision runs in fresh processes. Weights
    are random, so texts are nonsense and cost what they cost. Exit code 5 if nothing could be measured.
    """
    from bench.cli.stopping import stoppable
    from bench.core.generation import GenerationCase
    from bench.runner.scenarios import run_generation
    from bench.tables.scenarios import generation_report

    axes = options.read_axes(batch_size=batch_size, device=device, precision=precision, threads=threads, seed=seed)
    prompts = scenario_options.read_numbers(prompt, "--prompt", int, (32,), 1)
    lengths = scenario_options.read_numbers(new_tokens, "--new-tokens", int, (64,), 1)
    cases = [
        GenerationCase(cell=cell, prompt_tokens=tokens, new_tokens=length, uses_cache=uses_cache)
        for cell in scenario_options.read_cells(models, axes)
        for tokens in prompts
        for length in lengths
        for uses_cache in ((True, False) if no_cache else (True,))
    ]
    sampling = scenario_options.read_sampling(budget, target)
    with stoppable(), scenario_options.watching(quiet or format is options.Format.JSON) as watch:
        finished = run_generation(cases, sampling=sampling, results=results, watch=watch)
    if format is options.Format.JSON:
        print_json("generate", folder=str(finished.folder), generations=finished.measured)
    else:
        print(generation_report(finished.measured, **look()))
        print(f"Results: {finished.folder}")
    return scenario_options.exit_code([one.outcome for one in finished.measured])
