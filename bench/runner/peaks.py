"""What this machine can do at most, and which precisions are far slower here: probed in a fresh process, and kept.

Peaks lie in `results/peaks/<fingerprint>-<device>.json`, and are put beside every later cell; only a machine with the
same fingerprint uses them. A later, higher peak wins. What a busy machine measured is too low, so it is kept only if
asked for. Slow precisions lie beside them, in `<fingerprint>-<device>-slowdowns.json`: a suite leaves those out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.core.cell import Cell, Precision
from bench.core.environment import Environment
from bench.core.errors import BenchError, StoreError, UsageError
from bench.core.files import read_file
from bench.core.jsonio import from_json, parse_json
from bench.core.peaks import SCHEMA, Peaks, Slowdowns
from bench.core.record import Outcome
from bench.core.units import now
from bench.device.clocks import locked_environments
from bench.device.datasheet import datasheet
from bench.runner import processes
from bench.runner.workers.answers import Preflight
from bench.store.codec import write_json

PROBES_AT_MOST = 60  # sizes, arithmetics and warm-up, each times the patience of a probe


def measure_peaks(
    device: str,
    *,
    seconds: float,
    results: Path,
    is_forced: bool = False,
    locks_clocks: bool = False,
    timeout_seconds: float | None = None,
) -> tuple[Peaks, Path | None]:
    """Probe a device in a fresh process and keep what it can do.

    Each probe takes so many seconds. With `is_forced` the result is kept although others used the machine or the
    device, or it was too hot. With `locks_clocks` the clock of a GPU is locked meanwhile, where the driver permits, and
    the peaks are those of cells with a locked clock. A process has ten minutes by default, and for the probes what they
    may take beside.

    Returns:
        What is kept, joined with what was kept before, and the file; what was measured and None if nothing was kept.

    Raises:
        UsageError: There is no such device, or probing it failed.
        StoreError: The result cannot be written.
    """
    checked: Preflight = _call("preflight", (device,), (), timeout_seconds=timeout_seconds)
    for note in checked.notes:
        print(note, file=sys.stderr)
    name = dict(checked.devices)[device]
    environments = dict(checked.environments)
    limit = timeout_seconds or processes.DEFAULT_TIMEOUT_SECONDS + PROBES_AT_MOST * seconds
    with locked_environments({name: environments[name]}, is_asked=locks_clocks) as locked:
        environment = locked[name]
        arguments = (name, seconds, environment.gpu_uuid)
        probes, skipped, state = _call("probe_device", *arguments, timeout_seconds=limit)
    peaks = Peaks(
        device=name,
        name=environment.gpu or environment.cpu,
        fingerprint=environment.fingerprint,
        threads=environment.threads,
        probes=tuple(replace(probe, other_busy_cores=state.other_busy_cores) for probe in probes),
        skipped=skipped,
        datasheet=datasheet(environment.gpu) if environment.gpu else None,
        other_busy_cores=state.other_busy_cores,
        throttle_reasons=state.gpu_throttle_reasons,
        other_processes=state.gpu_other_processes,
        measured_at=now(),
    )
    if peaks.is_disturbed and not is_forced:
        return peaks, None
    earlier = read_peaks(results, environment, name)
    peaks = peaks if earlier is None else peaks.over_earlier(earlier)
    path = peaks_path(results, environment, name)
    write_json(path, peaks)
    return peaks, path


def _call(function: str, *arguments: Any, timeout_seconds: float | None) -> Any:
    ending = processes.call(f"bench.runner.workers.cells:{function}", *arguments, timeout_seconds=timeout_seconds)
    if isinstance(ending.error, BenchError):
        raise ending.error
    if ending.outcome is not Outcome.OK:
        raise UsageError(f"the device could not be probed: {ending.reason or ending.outcome.value}")
    return ending.value


def peaks_path(results: Path, environment: Environment, device: str) -> Path:
    """Return where the peaks of a machine lie."""
    return results / "peaks" / f"{environment.fingerprint}-{device.replace(':', '')}.json"


def read_peaks(results: Path, environment: Environment, device: str) -> Peaks | None:
    """Read what was measured of a device; None if it never was.

    Raises:
        StoreError: The file is no peaks file, or a newer stepbench wrote it.
    """
    path = peaks_path(results, environment, device)
    try:
        data = parse_json(read_file(path))
        schema = data.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise StoreError(f"{path} was written by a newer stepbench; update, or run 'bench machine peaks' again")
        return from_json(Peaks, data)
    except (FileNotFoundError, NotADirectoryError):  # the latter is said when the folder is made
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise StoreError(f"{path} is no peaks file ({error}); delete it and run 'bench machine peaks' again") from error


def known_peaks(results: Path, environments: Mapping[str, Environment]) -> dict[str, Peaks]:
    """Read the peaks of all devices of a run, as far as they were measured.

    Raises:
        StoreError: A file cannot be read.
    """
    found = ((device, read_peaks(results, environment, device)) for device, environment in environments.items())
    return {device: peaks for device, peaks in found if peaks is not None}


PROBE_TIMEOUT_SECONDS = 30.0

Slow = dict[tuple[str, Precision], str]
"""The reason to leave a precision out, by device."""


def slow_precisions(
    cells: Sequence[Cell],
    environments: Mapping[str, Environment],
    results: Path,
    limit: float,
    *,
    method: str = "forkserver",
) -> Slow:
    """Probe the precisions of these cells, as far as it was not done before, and return those slower than `limit`.

    The limit is in times of fp32; 0 leaves nothing out and probes nothing. A probe that fails leaves nothing out: the
    cell itself says why.
    """
    slow: Slow = {}
    asked = dict.fromkeys((c.device, c.precision) for c in cells if limit and c.precision is not Precision.FP32)
    for device in dict.fromkeys(device for device, _ in asked):
        environment = environments[device]
        path = peaks_path(results, environment, f"{device}-slowdowns")
        known = _read_slowdowns(path)
        wanted = [precision for of_device, precision in asked if of_device == device]
        found = dict(known.ratios) if known else {}
        for precision in wanted:
            if precision not in found:
                ratio = _probe(device, precision, method)
                if ratio is not None:
                    found[precision] = ratio
        if known is None or found != dict(known.ratios):
            write_json(path, Slowdowns(device=device, fingerprint=environment.fingerprint, ratios=tuple(found.items())))
        for precision in wanted:
            if (ratio := found.get(precision, 0.0)) > limit:
                slow[device, precision] = (
                    f"a step in {precision.value} takes {ratio:.1f} times as long as in fp32 on this {device} "
                    f"(probed); -p {precision.value} measures it all the same"
                )
    return slow


def _probe(device: str, precision: Precision, method: str) -> float | None:
    function = "bench.runner.workers.cells:probe_slowdown"
    ending = processes.call(function, device, precision, method=method, timeout_seconds=PROBE_TIMEOUT_SECONDS)
    return ending.value if ending.outcome is Outcome.OK else None


def _read_slowdowns(path: Path) -> Slowdowns | None:
    """Read what was probed before; a file that is none is probed again."""
    try:
        return from_json(Slowdowns, parse_json(read_file(path)))
    except (OSError, ValueError, StoreError):
        return None
