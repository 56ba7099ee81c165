"""Check whether this machine is fit to measure on.

Shows devices, precisions, how busy the machine is, and what measuring itself costs.

Examples:
    bench machine
    bench machine peaks
    bench machine noise my_net
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli import options
from bench.cli.output import answer, make_group, say, terminal_width
from bench.core.environment import Environment, MachineState
from bench.core.errors import ExitCode
from bench.core.units import counted, format_bytes, format_seconds

if TYPE_CHECKING:
    from bench.runner.ab.calibration import Selftest
    from bench.runner.ab.run import Request
    from bench.runner.ab.stages import Settings
    from bench.runner.doctor import Costs, Diagnosis

PANEL = "This machine"

app = make_group(acts=True)


@app.callback(invoke_without_command=True)
def command(
    context: typer.Context,
    costs: Annotated[
        bool, typer.Option("--costs", help="Also measure the cost of a fresh process and of a cell; about 20 s.")
    ] = False,
    timeout: options.LimitOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 4 if times measured now would be doubtful.")
    ] = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Show devices, precisions and how busy the machine is; with `--costs` what measuring itself costs."""
    if context.invoked_subcommand is not None:
        return ExitCode.FINE
    from bench.cli.progress import waiting
    from bench.device.environment import look
    from bench.runner.doctor import diagnose, find_costs

    limit = options.parse_duration(timeout, "--timeout")
    state = look()
    if format is not options.Format.JSON:  # before torch is imported: often this is enough
        print(_lines(load_lines(state)), flush=True)
    found = diagnose(state, timeout_seconds=limit)
    if costs:
        with waiting("measuring what a cell costs"):
            found = replace(found, costs=find_costs(timeout_seconds=limit))
    fingerprint = found.environments[0].fingerprint
    answer("machine", format, lambda: _lines(diagnosis_lines(found)), fingerprint=fingerprint, diagnosis=found)
    return ExitCode.UNFIT if strict and found.doubts else ExitCode.FINE


@app.command("peaks")
def peaks_command(
    device: Annotated[
        str, typer.Option("-d", "--device", metavar="DEVICE", help="cpu, cuda, cuda:N or auto.")
    ] = "auto",
    seconds: Annotated[str, typer.Option("--seconds", metavar="TIME", help="Time of each probe.")] = "1s",
    lock_clocks: options.LockClocksOption = False,
    timeout: Annotated[str | None, options.limit_option("10min beyond the probes")] = None,
    force: Annotated[bool, typer.Option("--force", help="Keep the peaks even if other work keeps cores busy.")] = False,
    results: options.ResultsOption = options.RESULTS,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Measure the fastest products and copies of a device.

    Probes matrix products in every precision, and memory copy and triad. The peaks are kept for this machine: later
    runs show MFU and what bounds each layer. A higher peak replaces a lower one. On a busy machine or a shared or hot
    GPU nothing is kept, unless forced, and the exit code is 4.
    """
    from bench.cli.progress import waiting
    from bench.runner.ab.scout import wait_for_quiet
    from bench.runner.peaks import measure_peaks
    from bench.tables.document import Place
    from bench.tables.machine import peaks_document

    duration = options.parse_duration(seconds, "--seconds")
    assert duration is not None
    options.refuse_without_gpu("--lock-clocks", lock_clocks, [device])
    if format is not options.Format.JSON:
        follows = "the peaks will be too low" if force else "nothing will be kept; stop it, or add --force"
        wait_for_quiet(None, say, follows=follows)
    with waiting("probing products and copies"):
        peaks, path = measure_peaks(
            device,
            seconds=duration,
            results=results,
            is_forced=force,
            locks_clocks=lock_clocks,
            timeout_seconds=options.parse_duration(timeout, "--timeout"),
        )
    kept = "Nothing was kept; --force keeps it, and MFU is doubted then." if path is None else f"Kept: {path}"
    answer(
        "machine peaks",
        format,
        lambda: [*peaks_document(peaks), Place(text=kept, close=True)],
        file=None if path is None else str(path),
        peaks=peaks,
    )
    return ExitCode.UNFIT if path is None else ExitCode.FINE


@app.command("noise")
@options.axes("batch_size", "mode", "device", "precision", "input_shape", "threads")
def noise_command(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="SUITE|MODEL", help="What to measure.", show_default="mlp my_net"),
    ] = None,
    *,
    axes: options.Axes,
    sessions: Annotated[int, typer.Option(min=6, max=18, help="Sessions, each with a fresh pair of processes.")] = 14,
    quads: Annotated[int, typer.Option(min=2, help=options.QUADS_HELP)] = 12,
    alpha: Annotated[float, typer.Option(help="Chance of a false alarm in later comparisons.")] = 0.05,
    timeout: options.AnswerLimitOption = None,
    seed: options.CoinsOption = None,
    void: options.VoidOption = True,
    lock_clocks: options.LockClocksOption = False,
    results: options.ResultsOption = options.RESULTS,
    quiet: options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Measure unchanged code against itself.

    Keeps the spread of sessions on this machine, with which `bench ab` computes the slowdown that it would see.
    """
    from bench.cli.progress import watching_sessions
    from bench.runner.ab.calibration import calibrate
    from bench.runner.ab.stages import Settings, draw_seed
    from bench.tables.document import Place
    from bench.tables.machine import calibration_document

    settings = Settings(
        sessions=sessions,
        stops=False,
        quads=quads,
        threshold=options.read_threshold("2%", "5%", alpha),
        seed=draw_seed() if seed is None else seed,
        judges_state=void,
        lock_clocks=lock_clocks,
        timeout_seconds=options.parse_duration(timeout, "--timeout"),
    )
    with watching_sessions(is_quiet=quiet) as listen:
        request = _unchanged(targets or ("mlp", "my_net"), axes, settings, results, listen)
        path, calibration = calibrate(request, listen)

    kept = Place(text=f"Kept: {path}", close=True)
    answer(
        "machine noise",
        format,
        lambda: [*calibration_document(calibration.cells), kept],
        file=str(path),
        calibration=calibration,
    )
    return ExitCode.FINE


@app.command("selftest")
@options.axes("batch_size", "device", "input_shape", "threads")
def selftest_command(
    targets: Annotated[
        list[str] | None, typer.Argument(metavar="SUITE|MODEL", help="What to measure.", show_default="mlp")
    ] = None,
    *,
    axes: options.Axes,
    slowdown: Annotated[
        str, typer.Option(metavar="SHARE", help="Slowdown injected into one side by a busy-wait.")
    ] = "5%",
    sessions: options.SessionsOption = 18,
    quads: Annotated[int, typer.Option(min=1, help=options.QUADS_HELP)] = 12,
    timeout: options.AnswerLimitOption = None,
    seed: options.CoinsOption = None,
    void: options.VoidOption = True,
    lock_clocks: options.LockClocksOption = False,
    results: options.ResultsOption = options.RESULTS,
    quiet: options.QuietOption = False,
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Check that verdicts hold here: no alarm, slowdown found.

    Compares unchanged code with itself, then with a copy in which every step is slower, then with one in which one step
    of 20 is slower, by as much on average. Exit code 1 after a false alarm or a missed slowdown, 4 if this machine is
    too busy to decide.
    """
    from bench.cli.progress import watching_sessions
    from bench.runner.ab.calibration import selftest
    from bench.runner.ab.stages import Settings, draw_seed

    share = options.read_fraction(slowdown, "--slowdown")
    settings = Settings(
        sessions=sessions,
        quads=quads,
        seed=draw_seed() if seed is None else seed,
        judges_state=void,
        lock_clocks=lock_clocks,
        timeout_seconds=options.parse_duration(timeout, "--timeout"),
    )
    with watching_sessions(is_quiet=quiet) as listen:
        request = _unchanged(targets or ("mlp",), axes, settings, results, listen)
        found = selftest(request, share, listen)
    fields = {name: getattr(found, name) for name in found.__slots__}
    answer("machine selftest", format, lambda: _selftest_text(found), passed=found.is_passed, **fields)
    if found.is_passed:
        return ExitCode.FINE
    return ExitCode.UNFIT if found.unfit and not found.alarms else ExitCode.REGRESSION


def _unchanged(
    targets: Sequence[str],
    axes: options.Axes,
    settings: Settings,
    results: Path,
    tell: Callable[[str], None],
) -> Request:
    """Ask for a comparison of the code that lies here with itself; say before it that the machine is busy."""
    from bench.runner.ab.run import Request
    from bench.runner.ab.scout import wait_for_quiet

    fate = "are void" if settings.judges_state else "count all the same (--no-void)"
    return Request(
        base=".",
        head=".",
        targets=tuple(targets),
        axes=axes,
        settings=settings,
        results=results,
        compares_with_itself=True,
        get_ready=functools.partial(wait_for_quiet, None, tell, follows=f"sessions that it disturbs {fate}"),
    )


def _selftest_text(found: Selftest) -> str:
    """Write a line per cell and comparison, and whether the test passed."""
    from bench.core.units import format_duration
    from bench.tables.comparison import change, percent_of, reason_text
    from bench.tables.table import Page

    page = Page(width=terminal_width())
    lines = []
    for comparison in found.unchanged:
        word = "ALARM" if comparison in found.alarms else "no alarm"
        figures = f"{change(comparison.shift)} %, sees {percent_of(comparison.minimum_detectable)} %"
        lines.append(f"unchanged {comparison.cell_id}: {word}; {figures}, {comparison.verdict.value}")
    for name, comparisons in (("injected", found.injected), ("injected on average", found.on_average)):
        for comparison in comparisons:
            word = "MISSED" if comparison in found.missed else "found"
            added = change(found.added.get(comparison.cell_key)) if name == "injected" else change(found.asked)
            lines.append(f"{name} {comparison.cell_id}: {word}; {added} % added; {reason_text(comparison)}")
    if found.unfit:
        lines.append(f"UNFIT: {found.unfit}")
    lines.append(f"selftest {'passed' if found.is_passed else 'FAILED'} in {format_duration(found.seconds)}")
    return "\n".join(page.wrap(line, "  ", first="") for line in lines)


def load_lines(state: MachineState) -> list[str]:
    """Describe what is known without torch: the processor, the memory, and other work."""
    from bench.device.cpu import cpu_name, memory_bytes, usable_cores

    busy = "-" if state.other_busy_cores is None else f"{state.other_busy_cores:.2f}"
    load = "-" if state.load_1m is None else f"{state.load_1m:.2f}"
    return [
        f"Machine      {cpu_name()}, {usable_cores()} cores, {format_bytes(memory_bytes())}",
        f"Load         {busy} cores busy with other work now, {load} in the last minute",
    ]


def _lines(lines: Sequence[str]) -> str:
    """Wrap at the width of the page where names allow."""
    wrap = functools.partial(textwrap.fill, width=terminal_width(), break_long_words=False, break_on_hyphens=False)
    return "\n".join(wrap(line, subsequent_indent=" " * 13) for line in lines)


def diagnosis_lines(diagnosis: Diagnosis) -> list[str]:
    """Describe software, settings, devices, costs and doubts, a line per fact."""
    cpu = diagnosis.environments[0]
    lines = [
        f"Software     {cpu.os}, Python {cpu.python}, torch {cpu.torch}, torchvision {cpu.torchvision or '-'}",
        f"Fingerprint  {cpu.fingerprint} (only equal ones are compared)",
        f"Settings     {counted(cpu.threads, 'thread')}" + "".join(f", {name}={value}" for name, value in cpu.malloc),
    ]
    for environment in diagnosis.environments:
        lines += _device_lines(environment, diagnosis)
    if diagnosis.nvml:
        lines.append(f"NVML         {diagnosis.nvml}")
    if diagnosis.costs is not None:
        lines += _cost_lines(diagnosis.costs)
    lines += [f"Not told     {what}" for what in diagnosis.untold]
    return lines + ([f"Doubt        {doubt}" for doubt in diagnosis.doubts] or ["Verdict      fit to measure on"])


def _cost_lines(costs: Costs) -> list[str]:
    call, cell = costs.forked_call_seconds, costs.cell_overhead_seconds
    new_call, new_cell = costs.spawned_call_seconds, costs.spawned_cell_overhead_seconds
    return [
        *([f"torchvision  {costs.torchvision}"] if costs.torchvision else []),
        f"Process      {format_seconds(new_call if call is None else call)} for a fresh process with torch"
        + ("; this system forks none" if call is None else f", {new_call / call:.0f} x cheaper than a new interpreter"),
        f"Cell         {format_seconds(new_cell if cell is None else cell)} beyond its timed steps, record on disk"
        + ("" if cell is None else f", {new_cell / cell:.0f} x cheaper than spawned"),
    ]


def _device_lines(environment: Environment, diagnosis: Diagnosis) -> list[str]:
    devices = list(dict.fromkeys(where for where, _, _ in diagnosis.precisions))  # in the environments' order
    device = devices[diagnosis.environments.index(environment)]
    name = environment.gpu if environment.gpu else "CPU"
    able = [precision for where, precision, reason in diagnosis.precisions if where == device and reason is None]
    unable = [(precision, reason) for where, precision, reason in diagnosis.precisions if where == device and reason]
    return [
        f"{device:12} {name}: {', '.join(able)}",
        *(f"             not {precision}: {reason}" for precision, reason in unable),
    ]
