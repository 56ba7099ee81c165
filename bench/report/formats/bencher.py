"""Bencher Metric Format: benchmark -> measure -> value, lower_value, upper_value.

`latency` is Bencher's own measure, in nanoseconds. The other measures are ours and are created when first sent; their
names contain the units. The format has no place for doubts, so their number is a separate measure.
"""

from __future__ import annotations

import json

from bench.core.text import plain
from bench.report.formats import Format
from bench.store.stored import Measured, StoredRun, doubts
from bench.tables.cells import CELLS

_LONGEST_NAME = 1024  # characters that Bencher allows; the end of a longer name is replaced by the cell's key
_NANOSECONDS = 1e9


def to_bencher(run: StoredRun) -> str:
    """Write the cells that were measured; the others are left out."""
    benchmarks = {_name(one): _measures(one) for one in run.measured}
    return json.dumps(benchmarks, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def _name(one: Measured) -> str:
    name = plain(one.record.cell.id)
    if len(name) <= _LONGEST_NAME:
        return name
    key = f"... {one.record.cell.key}"
    return name[: _LONGEST_NAME - len(key)] + key


def _measures(one: Measured) -> dict[str, dict[str, float]]:
    step = one.summary.step
    assert step is not None
    measures = {"latency": _metric(step.point, step.low, step.high, _NANOSECONDS)}
    if rate := one.summary.examples_per_second:
        low, high = (rate * step.point / end if end else None for end in (step.high, step.low))
        measures["examples-per-second"] = _metric(rate, low, high)
    counts = {c.exports["bencher"]: c.get(one) for c in CELLS if "bencher" in c.exports}
    if peak := one.record.counters.shown_peak:
        counts[peak[0].replace("_", "-")] = peak[1]
    measures |= {name: _metric(value) for name, value in counts.items() if value is not None}
    return measures | {"doubts": _metric(len(doubts(one.record)))}


def _metric(value: float, low: float | None = None, high: float | None = None, scale: float = 1) -> dict[str, float]:
    ends = {"value": value, "lower_value": low, "upper_value": high}
    return {name: end * scale for name, end in ends.items() if end is not None}


FORMAT = Format(write=lambda run, _: to_bencher(run))
