"""Measure text generation: first token, each token, cache.

Every combination of model, prompt, new tokens, batch size, device and precision runs in fresh processes. Weights are
random, so the texts are nonsense but take the same time. Exit code 5 if nothing could be measured.

Examples:
    bench generate decoder_lm
    bench generate decoder_lm --prompt 32,128 --new-tokens 64 --no-cache
"""

from __future__ import annotations

from typing import Annotated

import typer

from bench.cli import options
from bench.cli.output import answer, results_place

PANEL = "Measure"


@options.axes("batch_size", "device", "precision", "threads", "seed", defaults={"batch_size": 1})
def command(
    models: Annotated[list[str], typer.Argument(help="Language models.", show_default=False)],
    prompt: Annotated[
        list[str] | None, typer.Option(metavar="N,...", help="Tokens of the prompt.", show_default="32")
    ] = None,
    new_tokens: Annotated[
        list[str] | None, typer.Option(metavar="N,...", help="Tokens to write per text.", show_default="64")
    ] = None,
    *,
    axes: options.Axes,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Also without a cache, for comparison: the whole text for every token.")
    ] = False,
    budget: options.BudgetOption = None,
    target: options.TargetOption = 0.02,
    tail: options.TailOption = False,
    latency: options.LatencyOption = None,
    results: options.ResultsOption = options.RESULTS,
    quiet: options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.cli.progress import stoppable, watching
    from bench.core.generation import GenerationCase
    from bench.runner.scenarios import run_generation
    from bench.tables.scenarios import generation_document
    from bench.tables.tails import tailed_cases

    prompts = options.read_numbers(prompt, "--prompt", int, (32,), 1)
    lengths = options.read_numbers(new_tokens, "--new-tokens", int, (64,), 1)
    cases = [
        GenerationCase(cell=cell, prompt_tokens=tokens, new_tokens=length, uses_cache=uses_cache)
        for cell in options.read_cells(models, axes)
        for tokens in prompts
        for length in lengths
        for uses_cache in ((True, False) if no_cache else (True,))
    ]
    limit = options.read_limit(latency)
    sampling = options.read_sampling(budget, target, has_tail=tail)
    with stoppable(), watching(quiet or format is options.Format.JSON) as watch:
        finished = run_generation(cases, sampling=sampling, results=results, watch=watch)
    cases_with_tail = tailed_cases(finished.generations)
    checked = cases_with_tail.check(limit)
    answer(
        "generate",
        format,
        lambda: [
            *generation_document(finished.generations),
            *cases_with_tail.document(checked, has_tail=tail),
            results_place(finished.folder),
        ],
        folder=str(finished.folder),
        generations=finished.generations,
        latency=checked,
    )
    return options.exit_code([one.outcome for one in finished.generations], checked)
