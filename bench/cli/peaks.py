"""`bench peaks`: what this very device can do at most, so that utilization and rooflines have a roof."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli import options
from bench.cli.output import look, print_json
from bench.core.errors import ExitCode, SuiteError


def command(
    device: Annotated[str, typer.Option("-d", "--device", help="cpu, cuda, cuda:N or auto.")] = "auto",
    seconds: Annotated[str, typer.Option("--seconds", help="For each probe, for example 1s.")] = "1s",
    results: options.ResultsOption = Path("results"),
    format: options.FormatOption = options.Format.TABLE,  # noqa: A002 - the name of the option
) -> int:
    """Measure matrix products in every precision, and memory copy and triad, on this device.

    Kept for this machine: later runs show MFU and what bounds each layer.
    """
    from bench.runner.peaks import measure_peaks
    from bench.tables.machine import peaks_table

    duration = options.parse_duration(seconds, "--seconds")
    if duration is None or duration <= 0:
        raise SuiteError(f"--seconds {seconds!r} is no time to measure in; use for example 1s")
    peaks, path = measure_peaks(device, seconds=duration, results=results)
    if format is options.Format.JSON:
        print_json("peaks", file=str(path), peaks=peaks)
    else:
        print(peaks_table(peaks, **look()))
        print(f"Kept: {path}")
    return ExitCode.FINE
