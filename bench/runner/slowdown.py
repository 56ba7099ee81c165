"""Which precisions a suite leaves out on this machine, because a probe says that steps in them are far slower.

What was probed is kept beside the peaks, in `results/peaks/<fingerprint>-<device>-slowdowns.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.core.cell import Cell, Precision
from bench.core.environment import Environment
from bench.core.errors import StoreError
from bench.core.files import read_file
from bench.core.jsonio import from_json, parse_json, to_json
from bench.core.peaks import Slowdowns
from bench.core.record import Outcome
from bench.runner import processes
from bench.runner.peaks import peaks_path
from bench.store.atomic import make_folder, write_bytes

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

    A probe that fails leaves nothing out: the cell itself says why.

    Args:
        cells: With full device names.
        environments: Environments by device name.
        results: Folder under which `peaks/` lies.
        limit: Times as slow as fp32; 0 leaves nothing out and probes nothing.
        method: How processes are started.
    """
    slow: Slow = {}
    asked = dict.fromkeys((c.device, c.precision) for c in cells if limit and c.precision is not Precision.FP32)
    for device in dict.fromkeys(device for device, _ in asked):
        environment = environments[device]
        path = peaks_path(results, environment, f"{device}-slowdowns")
        known = _read(path)
        wanted = [precision for of_device, precision in asked if of_device == device]
        found = dict(known.ratios) if known else {}
        for precision in wanted:
            if precision not in found:
                ratio = _probe(device, precision, method)
                if ratio is not None:
                    found[precision] = ratio
        if known is None or found != dict(known.ratios):
            _write(path, Slowdowns(device=device, fingerprint=environment.fingerprint, ratios=tuple(found.items())))
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


def _read(path: Path) -> Slowdowns | None:
    """Read what was probed before; a file that is none is probed again."""
    try:
        return from_json(Slowdowns, parse_json(read_file(path)))
    except (OSError, ValueError, StoreError):
        return None


def _write(path: Path, slowdowns: Slowdowns) -> None:
    make_folder(path.parent)
    write_bytes(path, (json.dumps(to_json(slowdowns), indent=1, allow_nan=False) + "\n").encode())
