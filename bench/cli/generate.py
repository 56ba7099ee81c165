"""Measure text generation: first token, each token, cache.

Every combination of model, prompt, new tokens, batch size, device and precision runs in fresh processes. Weights are
random, so the texts are nonsense but take the same time. `--resume RUN` measures what a run lacks. Exit code 5 if
nothing could be measured.

Examples:
    bench generate decoder_lm
    bench generate decoder_lm --prompt 32,128 --new-tokens 64 --no-cache
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options, slurm
from bench.cli.output import answer, results_place
from bench.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bench.runner.scenarios import Asked, Kind

PANEL = "Measure"


@options.axes("batch_size", "device", "precision", "threads", "seed", defaults={"batch_size": 1})
@slurm.job_options
def command(
    models: Annotated[list[str] | None, typer.Argument(help="Language models.", show_default=False)] = None,
    prompt: Annotated[
        list[str] | None, typer.Option(metavar="N,...", help="Tokens of the prompt.", show_default="32")
    ] = None,
    new_tokens: Annotated[
        list[str] | None, typer.Option(metavar="N,...", help="Tokens to write per text.", show_default="64")
    ] = None,
    *,
    axes: options.Axes,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Also measure without a cache: the whole text is read for every token.")
    ] = False,
    budget: options.BudgetOption = None,
    target: options.TargetOption = options.DEFAULT_TARGET,
    tail: options.TailOption = False,
    latency: options.LatencyOption = None,
    traces: options.TracesOption = False,
    resume: options.ResumeOption = None,
    executor: options.CasesExecutorOption = "forkserver",
    job: slurm.Job,
    results: options.ResultsOption = options.RESULTS,
    dry_run: options.DryRunOption = False,
    quiet: options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.core.generation import GenerationCase
    from bench.runner.scenarios import GENERATION

    asked = read_asked(
        GENERATION,
        lambda: [
            GenerationCase(cell=cell, prompt_tokens=tokens, new_tokens=length, uses_cache=uses_cache)
            for cell in options.read_cells(models or [], axes)
            for tokens in options.read_numbers(prompt, "--prompt", int, (32,), 1)
            for length in options.read_numbers(new_tokens, "--new-tokens", int, (64,), 1)
            for uses_cache in ((True, False) if no_cache else (True,))
        ],
        resume=resume,
        results=results,
        models=models,
        typed=(axes, prompt, new_tokens, no_cache, budget, target != options.DEFAULT_TARGET, tail),
        sampling=(budget, target, tail),
    )
    return measure_cases(
        GENERATION,
        asked,
        results=results,
        executor=executor,
        job=job,
        latency=latency,
        tail=tail,
        traces=traces,
        is_dry=dry_run,
        quiet=quiet,
        format=format,
    )


def read_asked(
    kind: Kind,
    cases: Callable[[], Sequence[Any]],
    *,
    resume: str | None,
    results: Path,
    models: list[str] | None,
    typed: tuple[Any, ...],
    sampling: tuple[str | None, float, bool],
    parts: bool = False,
) -> Asked:
    """Read what is to be measured: the cases that were typed, or those of the run to be resumed.

    Args:
        kind: Kind of the cases.
        cases: Makes the cases that were typed.
        resume: The run to be resumed; None for a new one.
        results: Where runs are looked for.
        models: Models that were typed.
        typed: Options that a resumed run fixes, as typed; none of them may be.
        sampling: Budget, target and whether the tail is asked for, as typed.
        parts: Also measure the parts of a training step.

    Raises:
        UsageError: Neither or both were typed.
    """
    from bench.runner.scenarios import Asked, taken_up

    if resume is not None:
        if models or any(typed):
            raise UsageError("--resume measures what the run was asked for; type nothing else of it")
        return taken_up(kind, resume, results)
    if not models:
        raise UsageError(f"name a model, for example `bench {kind.command} {kind.example}`, or a run with --resume")
    budget, target, tail = sampling
    return Asked(cases=cases(), sampling=options.read_sampling(budget, target, has_tail=tail), parts=parts)


def measure_cases(
    kind: Kind,
    asked: Asked,
    *,
    results: Path,
    executor: str,
    job: slurm.Job,
    latency: str | None,
    tail: bool,
    traces: bool,
    is_dry: bool,
    quiet: bool,
    format: options.Format,  # noqa: A002 - the name of the option
) -> int:
    """Measure cases here or submit them to Slurm, print the results, and return the exit code.

    With `is_dry`, only check and print the cases.

    Raises:
        UsageError: Options exclude each other.
    """
    from bench.cli.progress import stoppable, waiting, watching
    from bench.runner.scenarios import plan_cases, run_cases
    from bench.store.runs import check_results
    from bench.tables.catalog import figures_of
    from bench.tables.document import Place
    from bench.tables.scenarios import cases_document
    from bench.tables.tails import tailed_cases

    limit = options.read_limit(latency)
    if executor == "slurm":
        if limit is not None:
            raise UsageError("--latency needs results, and slurm only submits; leave it out")
        if traces:
            raise UsageError("--traces is for cases that are measured here; leave it out")
        if is_dry:
            raise UsageError("--dry-run prints the cases that are measured here, and slurm submits; leave one out")
        return slurm.submit_cases_of(kind, asked, job, results=results, format=format)
    if executor not in ("forkserver", "spawn"):
        raise UsageError(f"executor {executor!r} is unknown. Use one of: forkserver, spawn, slurm")
    slurm.refuse_without_slurm(job, None if asked.folder is None else str(asked.folder.path), results)
    if is_dry:
        check_results(results)
        with waiting("checking", is_quiet=quiet or format is options.Format.JSON):
            cases, _ = plan_cases(kind, asked, method=executor)
        answer(kind.command, format, lambda: options.planned([one.id for one in cases], "case"), cases=cases)
        return ExitCode.FINE
    with stoppable(), watching(quiet or format is options.Format.JSON) as watch:
        run = run_cases(kind, asked, results=results, watch=watch, method=executor, is_tracing=traces)
    found = kind.of_run(run)
    cases_with_tail = tailed_cases(found)
    checked = cases_with_tail.check(limit)
    answer(
        kind.command,
        format,
        lambda: [
            *cases_document(kind.field, found),
            *cases_with_tail.document(checked, has_tail=tail),
            *(Place(text=text) for text in options.traces_of(run.folder)),
            results_place(run.folder),
        ],
        folder=str(run.folder),
        figures=figures_of(kind.field, found) if format is options.Format.JSON else (),
        latency=checked,
        **{kind.field: found},
    )
    return options.exit_code([one.outcome for one in found], checked)
