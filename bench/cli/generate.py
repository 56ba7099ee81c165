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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options, slurm
from bench.cli.output import answer, results_place
from bench.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bench.runner.scenarios import Kind

PANEL = "Measure"


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How cases are measured: the options that `bench generate` and `bench images` share."""

    budget: options.BudgetOption = None
    target: options.TargetOption = options.DEFAULT_TARGET
    tail: options.TailOption = False
    latency: options.LatencyOption = None
    timeout: options.SamplingLimitOption = None
    lock_clocks: options.LockClocksOption = False
    traces: options.TracesOption = False
    resume: options.ResumeOption = None
    executor: options.CasesExecutorOption = "forkserver"
    job: slurm.Job
    results: options.ResultsOption = options.RESULTS
    dry_run: options.DryRunOption = False
    quiet: options.QuietOption = False
    format: options.FormatOption = options.Format.TABLE


@options.axes("batch_size", "device", "precision", "threads", "seed", defaults={"batch_size": 1})
@slurm.job_options
@options.fields_of("how", How)
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
    how: How,
) -> int:
    from bench.core.generation import GenerationCase
    from bench.runner.scenarios import GENERATION

    def cases() -> list[GenerationCase]:
        return [
            GenerationCase(cell=cell, prompt_tokens=tokens, new_tokens=length, uses_cache=uses_cache)
            for cell in options.read_cells(models or [], axes)
            for tokens in options.read_numbers(prompt, "--prompt", int, (32,), 1)
            for length in options.read_numbers(new_tokens, "--new-tokens", int, (64,), 1)
            for uses_cache in ((True, False) if no_cache else (True,))
        ]

    return measure_cases(GENERATION, cases, how, typed=(models, axes, prompt, new_tokens, no_cache))


def measure_cases(
    kind: Kind, cases: Callable[[], Sequence[Any]], how: How, *, typed: tuple[Any, ...], has_parts: bool = False
) -> int:
    """Measure cases here or submit them to Slurm, print the results, and return the exit code.

    Args:
        kind: Kind of the cases.
        cases: Makes the cases that were typed, for a new run.
        how: The options that all kinds share.
        typed: The models and the other options, as typed; of a resumed run none may be, because it fixes them.
        has_parts: Also measure the parts of a training step.

    Raises:
        UsageError: Options exclude each other, or no model was typed.
    """
    from bench.cli.progress import stoppable, waiting, watching
    from bench.runner.scenarios import Asked, plan_cases, run_cases, taken_up
    from bench.store.runs import check_results
    from bench.tables.catalog import figures_of
    from bench.tables.document import Place
    from bench.tables.scenarios import cases_document
    from bench.tables.tails import tailed_cases

    if how.resume is not None:
        if any((*typed, how.budget, how.target != options.DEFAULT_TARGET, how.tail, how.lock_clocks)):
            raise UsageError("--resume measures what the run was asked for; type nothing else of it")
        asked = taken_up(kind, how.resume, how.results)
    elif typed[0]:
        wanted = cases()
        options.refuse_without_gpu("--lock-clocks", how.lock_clocks, [one.cell.device for one in wanted])
        sampling = options.read_sampling(how.budget, how.target, has_tail=how.tail)
        sampling = replace(sampling, lock_clocks=how.lock_clocks)
        asked = Asked(cases=wanted, sampling=sampling, parts=has_parts)
    else:
        raise UsageError(f"name a model, for example `bench {kind.command} {kind.example}`, or a run with --resume")
    limit = options.read_limit(how.latency)
    seconds = options.parse_duration(how.timeout, "--timeout")
    if how.executor == "slurm":
        if limit is not None:
            raise UsageError("--latency needs results, and slurm only submits; leave it out")
        if how.traces:
            raise UsageError("--traces is for cases that are measured here; leave it out")
        if how.dry_run:
            raise UsageError("--dry-run prints the cases that are measured here, and slurm submits; leave one out")
        return slurm.submit_cases_of(
            kind, asked, how.job, results=how.results, timeout_seconds=seconds, format=how.format
        )
    if how.executor not in ("forkserver", "spawn"):
        raise UsageError(f"executor {how.executor!r} is unknown. Use one of: forkserver, spawn, slurm")
    slurm.refuse_without_slurm(how.job, None if asked.folder is None else str(asked.folder.path), how.results)
    is_silent = how.quiet or how.format is options.Format.JSON
    limits: dict[str, Any] = {"method": how.executor, "timeout_seconds": seconds}
    if how.dry_run:
        check_results(how.results)
        with waiting("checking", is_quiet=is_silent):
            planned, _ = plan_cases(kind, asked, **limits)
        answer(kind.command, how.format, lambda: options.planned([one.id for one in planned], "case"), cases=planned)
        return ExitCode.FINE
    with stoppable(), watching(is_silent) as watch:
        run = run_cases(kind, asked, results=how.results, watch=watch, is_tracing=how.traces, **limits)
    found = kind.of_run(run)
    cases_with_tail = tailed_cases(found)
    checked = cases_with_tail.check(limit)
    answer(
        kind.command,
        how.format,
        lambda: [
            *cases_document(kind.field, found),
            *cases_with_tail.document(checked, has_tail=how.tail),
            *(Place(text=text) for text in options.traces_of(run.folder)),
            results_place(run.folder),
        ],
        folder=str(run.folder),
        figures=figures_of(kind.field, found) if how.format is options.Format.JSON else (),
        latency=checked,
        **{kind.field: found},
    )
    return options.exit_code([one.outcome for one in found], checked)
