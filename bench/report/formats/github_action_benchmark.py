"""The two custom formats of github-action-benchmark (benchmark-action): an array of name, value, unit, range, extra.

The action compares a value with the last one of the same name, so names and units never change with the figures:
seconds stay seconds. `range` is shown beside the value, `extra` in the tooltip of its chart.
"""

from __future__ import annotations

import json
from typing import Any

from bench.core.text import plain
from bench.report.formats import Format
from bench.store.stored import Measured, StoredRun, doubts


def to_smaller_is_better(run: StoredRun) -> str:
    """Write what should shrink: seconds per step, those per token of texts, and the peak of memory in bytes."""
    entries = []
    for one in run.measured:
        entries.append(_entry(one, "step", one.seconds, "s", one.summary.step.half_width if one.summary.step else None))
        if (token := one.summary.seconds_per_token) is not None:
            half = one.summary.step.relative_half_width if one.summary.step else None
            entries.append(_entry(one, "token", token, "s", None if half is None else token * half))
        if peak := one.record.counters.shown_peak:
            name, count = peak
            entries.append(_entry(one, name.removesuffix("_bytes").replace("_", " "), count, "bytes"))
    return _text(entries)


def to_bigger_is_better(run: StoredRun) -> str:
    """Write what should grow: examples per second, and tokens per second of language models."""
    entries = []
    for one in run.measured:
        half = one.summary.step.relative_half_width if one.summary.step else None
        for unit, rate in (
            ("examples/s", one.summary.examples_per_second),
            ("tokens/s", one.summary.tokens_per_second),
        ):
            if rate is not None:
                entries.append(_entry(one, "throughput", rate, unit, None if half is None else rate * half))
    return _text(entries)


def _entry(one: Measured, what: str, value: float, unit: str, half: float | None = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": f"{plain(one.record.cell.id)}: {what}", "value": value, "unit": unit}
    if half is not None:
        entry["range"] = f"± {half:.3g}"
    said = [f"median of {len(one.steps)} steps; ± is half its 95 % interval"] if half is not None else []
    return entry | {"extra": "\n".join([*said, *_extra(one)])}


def _extra(one: Measured) -> list[str]:
    environment = one.record.environment
    lines = []
    if found := doubts(one.record):
        lines.append(f"doubts: {', '.join(found)}")
    if environment:
        lines.append(f"fingerprint {environment.fingerprint}, torch {plain(environment.torch)}")
    return lines


def _text(entries: list[dict[str, Any]]) -> str:
    return json.dumps(entries, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


FORMAT = Format(write=lambda run, _: to_smaller_is_better(run))
