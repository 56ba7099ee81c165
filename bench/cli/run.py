"""Measure models over batch sizes, devices and precisions.

An axis that is not typed has the value of the suite, or its default. Prints a table and the folder of the results.
Exit code 5 if no cell could be measured; with `--strict` 1 if any failed.

Examples:
    bench run my_net mlp -b 8,32 -p fp32,bf16-amp
    bench run path/net.py:make_net --input-shape 3x224x224 --mode infer
    bench run --resume latest
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench.cli import options, slurm
from bench.cli.output import answer, say_kept
from bench.core.advice import DOUBTED
from bench.core.cell import Cell, Mode
from bench.core.claim import ClaimVerdict
from bench.core.errors import ExitCode, UsageError
from bench.core.record import Outcome, Sampling
from bench.core.units import counted
from bench.device.backend import AUTO, CPU, backend_of
from bench.suite.axes import sampling_of

if TYPE_CHECKING:
    from bench.store.stored import StoredRun
    from bench.tables.document import Document

PANEL = "Measure"


@options.axes()
@slurm.job_options
def command(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL|SUITE",
            help="Models, suite files (*.toml) or names of built-in suites.",
            show_default="the suite quick",
        ),
    ] = None,
    *,
    axes: options.Axes,
    target: Annotated[
        float | None,
        typer.Option(min=0.0001, max=1.0, help="Stop when the median is known within this.", show_default="0.02"),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Time to sample one cell; 20 steps (20s at most) are taken anyway.",
            show_default="1s, or the suite's",
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Fresh processes per cell; 3 for intervals with their spread.", show_default="1"),
    ] = None,
    tail: options.TailOption = False,
    latency: options.LatencyOption = None,
    timeout: options.SamplingLimitOption = None,
    predict: Annotated[
        bool, typer.Option("--predict/--no-predict", help="Skip cells whose predicted peak exceeds the free memory.")
    ] = True,
    recount: options.RecountOption = False,
    energy: Annotated[
        bool, typer.Option("--energy", help="Also measure joules per step, over seconds (NVML or RAPL).")
    ] = False,
    cold_start: Annotated[
        bool,
        typer.Option(
            "--cold-start",
            help="Also start each cell in a fresh Python without and with compiled code; takes seconds more.",
        ),
    ] = False,
    warmup: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Shortest warm-up; 60s brings a GPU to the temperature of long work.",
            show_default="1s on a GPU",
        ),
    ] = None,
    cold_cache: options.ColdCacheOption = False,
    lock_clocks: options.LockClocksOption = False,
    devices: Annotated[
        str | None,
        typer.Option(
            metavar="LIST|all",
            help="Share the cells among these GPUs, a worker each; with --exclusive never two on a NUMA node.",
            show_default="one cell at a time",
        ),
    ] = None,
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Write each GPU allocator's history, for pytorch.org/memory_viz.")
    ] = False,
    traces: options.TracesOption = False,
    resume: options.ResumeOption = None,
    keep_failed: Annotated[
        bool, typer.Option("--keep-failed", help="With --resume: do not try again what ended badly.")
    ] = False,
    retry: Annotated[
        str | None,
        typer.Option(
            metavar="OUTCOMES",
            help="With --resume: measure again only what ended so, e.g. failed,killed, or is doubted.",
            show_default="all here, none on slurm",
        ),
    ] = None,
    order: Annotated[
        Literal["planned", "short"], typer.Option("--order", help="Order as planned, or cells of few FLOPs first.")
    ] = "planned",
    until: Annotated[
        str | None,
        typer.Option(metavar="HH:MM", help="Start no cell after this time; --resume continues.", show_default="none"),
    ] = None,
    max_cells: Annotated[
        int | None,
        typer.Option(min=1, help="Measure at most N cells; --resume continues.", show_default="all"),
    ] = None,
    executor: Annotated[
        str, typer.Option(metavar="NAME", help="forkserver, spawn, inline (for debuggers) or slurm.")
    ] = "forkserver",
    job: slurm.Job,
    results: options.ResultsOption = options.RESULTS,
    columns: options.ColumnsOption = "usual",
    dry_run: options.DryRunOption = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 if a cell failed.")] = False,
    quiet: options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    from bench.cli.progress import make_observer, stoppable, waiting, watched
    from bench.runner.plan import check_here, make_plan, preflight_limit
    from bench.runner.session import Limits, execute, left_of, plan_resumption, plan_targets
    from bench.stats.rank_scaling import rank_scalings
    from bench.stats.scaling import scalings
    from bench.stats.stopping import MANY_STEPS, with_tail
    from bench.store.kept import KeptCounts
    from bench.store.runs import check_results
    from bench.tables.catalog import figures_of
    from bench.tables.tails import tailed_cells

    if executor not in ("forkserver", "spawn", "inline", "slurm"):
        raise UsageError(f"executor {executor!r} is unknown. Use one of: forkserver, spawn, inline, slurm")
    for option, is_typed in (("--strict", strict), ("--latency", latency)):
        if is_typed and executor == "slurm":
            raise UsageError(
                f"{option} needs results, and slurm only submits; leave it out and use `bench slurm status`"
            )
    is_here = executor != "slurm"
    exclusive = is_here and job.get("exclusive", False)
    if exclusive:
        job = {name: value for name, value in job.items() if name != "exclusive"}
    if devices is not None and not axes.get("device"):
        axes = {**axes, "device": (AUTO,)}
    if resume is None or models:
        session = plan_targets(models or [], axes)
    elif axes:
        raise UsageError(f"--resume alone takes the cells of the run; name the targets to change {', '.join(axes)}")
    else:
        session = plan_resumption(resume, results)
    typed = {
        "target": target,
        "budget_seconds": options.parse_duration(budget, "--budget"),
        "processes": processes,
        "min_warmup_seconds": options.parse_duration(warmup, "--warmup"),
        "cold_cache": cold_cache or None,
        "lock_clocks": lock_clocks or None,
        "exclusive": exclusive or None,
    }
    changes: dict[str, Any] = {name: value for name, value in typed.items() if value is not None}
    sampling = sampling_of(session.sampling, **changes)
    usual = Sampling()
    if changes.get("budget_seconds", 0.0) > usual.budget_seconds and sampling.max_steps == usual.max_steps:
        sampling = replace(sampling, max_steps=MANY_STEPS)  # or a longer budget brings nothing where steps are short
    session = replace(session, sampling=sampling)
    limit = options.read_limit(latency)
    if (tail or limit) and any(cell.mode is not Mode.INFER for cell in session.cells):
        raise UsageError("--tail and --latency are for inferences, and not all cells are; add --mode infer")
    if tail:
        session = replace(session, sampling=with_tail(session.sampling, changes.get("budget_seconds")))
    limits = Limits(
        is_short_first=order == "short",
        until=None if until is None else options.parse_clock(until, "--until"),
        max_cells=max_cells,
    )
    retried = parse_retry(retry, is_none=keep_failed)
    for option, is_typed in (("--retry", retry is not None), ("--keep-failed", keep_failed)):
        if is_typed and resume is None:
            raise UsageError(f"{option} needs --resume RUN: a new run has nothing to try again")
    for option, is_typed in (("--snapshot", snapshot), ("--lock-clocks", lock_clocks)):
        options.refuse_without_gpu(option, is_typed, (cell.device for cell in session.cells))
    if executor == "slurm":
        passes = {"--tail": tail, "--energy": energy, "--cold-start": cold_start, "--no-predict": not predict}
        if devices is not None or snapshot or traces:
            raise UsageError(
                "--devices, --snapshot and --traces are for runs on this machine; on slurm every task has its own GPUs"
            )
        if DOUBTED in (retried or ()):
            raise UsageError("--retry doubted is for runs on this machine; for slurm name the targets with a --budget")
        return slurm.run_on_slurm(
            session,
            job,
            results=results,
            resume=resume,
            refused=[*(models or []), *changes, *(name for name, is_typed in passes.items() if is_typed)],
            timeout_seconds=options.parse_duration(timeout, "--timeout"),
            is_predicting=predict,
            is_metering=energy,
            is_cold=cold_start,
            is_dry=dry_run,
            retried=tuple(map(Outcome, retried or ())),
            limits=limits,
            format=format,
        )
    if cold_start and executor == "inline":
        raise UsageError("--cold-start starts processes, and the executor inline has one; choose forkserver")
    slurm.refuse_without_slurm(job, resume, results)
    pool = [] if devices is None else options.split([devices])
    seconds = options.parse_duration(timeout, "--timeout")
    is_silent = quiet or format is options.Format.JSON
    if dry_run:
        check_results(results)
        cells = session.cells
        passed: dict[str, Any] = {"method": executor, "timeout_seconds": preflight_limit(seconds)}
        with waiting("checking", is_quiet=is_silent):
            if resume is not None:
                cells = left_of(session, resume, results, retried=retried, pool=pool, **passed)
            elif pool:
                cells = make_plan(cells, pool=pool, **passed).cells
            else:
                check_here(cells, **passed)
        if order == "planned":  # which cells are short, only counting tells
            cells = cells[:max_cells]
        answer("run", format, lambda: options.planned(list(map(_planned_line, cells)), "cell"), cells=cells)
        return ExitCode.FINE
    kept = None if recount else KeptCounts()
    with stoppable(), watched(make_observer(is_quiet=is_silent), is_quiet=is_silent) as observer:
        finished = execute(
            session,
            results=results,
            timeout_seconds=seconds,
            method=executor,
            observers=(observer,),
            resume=resume,
            retried=retried,
            is_predicting=predict,
            is_metering=energy,
            is_cold=cold_start,
            kept=kept,
            limits=limits,
            pool=pool,
            is_snapshotting=snapshot,
            is_tracing=traces,
        )
    say_kept(kept, len(finished.records))
    cells_with_tail = tailed_cells(finished.records)
    checked = cells_with_tail.check(limit)
    answer(
        "run",
        format,
        lambda: result_document(
            finished, columns.removeprefix("usual"), cells_with_tail.document(checked, has_tail=tail)
        ),
        folder=str(finished.folder),
        records=finished.records,
        figures=figures_of("records", finished.records) if format is options.Format.JSON else (),
        claims=finished.claims,
        scaling=scalings(finished.records),
        ranks=rank_scalings(finished.records),
        latency=checked,
    )
    if strict and _failed(finished):
        return ExitCode.REGRESSION
    return options.exit_code([record.outcome for record in finished.records], checked)


def _planned_line(cell: Cell) -> str:
    """Name a cell of a dry run, and why it would be skipped, as far as that is known without torch."""
    lacks = backend_of(CPU).lacks(cell.precision.row.arithmetic) if cell.device == CPU else None
    return cell.id if lacks is None else f"{cell.id}  skipped: {cell.precision.value} {lacks}"


def parse_retry(text: str | None, *, is_none: bool) -> tuple[str, ...] | None:
    """Read `failed,doubted`; None means all that ended badly, and with `is_none` nothing is tried again.

    Raises:
        UsageError: One of them is no bad ending, or both were asked for.
    """
    if text is None:
        return () if is_none else None
    if is_none:
        raise UsageError("--keep-failed and --retry exclude each other; leave one out")
    known = [*(one.value for one in Outcome if one not in (Outcome.OK, Outcome.SKIPPED)), DOUBTED]
    names = tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"--retry {unknown[0]!r} is no bad ending of a cell; use some of {', '.join(known)}")
    return names


def _failed(finished: StoredRun) -> int:
    """Count the cells that ended badly; skipped ones are not among them."""
    return sum(record.outcome not in (Outcome.OK, Outcome.SKIPPED) for record in finished.records)


def result_document(finished: StoredRun, view: str = "", tails: Document = ()) -> Document:
    """Make the answer: the table, findings, wrong claims, doubts, and where the files are."""
    from bench.stats.scaling import scalings
    from bench.stats.summary import summarise
    from bench.tables.advice import short_advice
    from bench.tables.claims import claims_document, claims_summary
    from bench.tables.document import Doubts, Notes, Place, Text
    from bench.tables.run import cells_document, cold_notes, failures, findings
    from bench.tables.scaling import ranks_document, scaling_document

    records, claims = finished.records, finished.claims
    found = (
        *findings(records, [summarise(record) for record in records]),
        *failures(records),
        *(() if view else cold_notes(records)),
    )
    wrong = [claim for claim in claims if claim.verdict is ClaimVerdict.MISMATCH]
    shown = finished.info.id if finished.folder.parent == options.RESULTS else str(finished.folder)
    doubts = short_advice(records, str(finished.folder))
    html = finished.folder / "report.html"
    places = [f"Report: {html}"] if html.is_file() else []
    places += options.traces_of(finished.folder)
    places.append(f"Results: {finished.folder}")
    if left := len(finished.missing):
        again = f"bench run --resume {shlex.quote(str(finished.folder))}"
        places.append(f"{counted(left, 'cell')} not measured; to continue: `{again}`")
    if failed := _failed(finished):
        places.append(f"{failed} of {counted(len(records), 'cell')} failed; with --strict that is exit code 1")
    return [
        *cells_document(records, doubts=False, view=view),
        *tails,
        Notes(lines=found, first="- ", indent="  "),
        *scaling_document(scalings(records)),
        *ranks_document(records),
        *(claims_document(wrong)[1:] if wrong else ()),
        Text(text=f"{claims_summary(claims)}; `bench check` shows them" if claims else ""),
        Doubts(sentences=doubts),
        Text(
            text=f"   `bench show {shlex.quote(shown)}` says what each means." if doubts else "",
            indent="   ",
            close=True,
        ),
        *(Place(text=text, close=bool(row)) for row, text in enumerate(places)),
    ]
