"""The columns of `scaling`: one row per group of cells that differ in one size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.stats.scaling_groups import Scaling
from bench.store.column import Column


def _of(name: str) -> Callable[[Scaling], Any]:
    return lambda row: getattr(row, name)


def _estimate(name: str, part: str) -> Callable[[Scaling], Any]:
    return lambda row: None if (estimate := getattr(row, name)) is None else getattr(estimate, part)


def _interval(name: str, stem: str, suffix: str, unit: str, meaning: str) -> tuple[Column, ...]:
    return (
        Column(f"{stem}{suffix}", "Float64", unit, meaning, _estimate(name, "point")),
        Column(f"{stem}_low{suffix}", "Float64", unit, "lower end of its 95 % interval", _estimate(name, "low")),
        Column(f"{stem}_high{suffix}", "Float64", unit, "upper end", _estimate(name, "high")),
    )


SCALING = (
    Column("group", "string", "", "the cells, with `*` for the size in which they differ", _of("group")),
    Column("axis", "string", "", "`batch_size`, or the model's option", _of("axis")),
    Column("sizes", "string", "", "sizes that were measured, joined by `;`", lambda r: ";".join(map(str, r.sizes))),
    *_interval("overhead_seconds", "overhead", "_seconds", "s", "a of step = a + b * batch: whatever the batch"),
    *_interval("example_seconds", "example", "_seconds", "s", "b: one more example"),
    *_interval(
        "batch_of_90_percent",
        "batch_of_90_percent",
        "",
        "examples",
        "9 a / b: where throughput reaches 90 % of its limit",
    ),
    *_interval("exponent", "exponent", "", "of the size", "k of step ~ size^k, along an option"),
    Column("flops_exponent", "Float64", "of the size", "the same k of the step's FLOPs", _of("flops_exponent")),
    Column("misfit_fraction", "Float64", "fraction", "how far the worst point is from the fit", _of("misfit")),
    Column("follows", "boolean", "", "whether the times follow the fit within noise", _of("follows")),
    Column("reason", "string", "", "why a figure is missing, or not to be believed", _of("reason")),
)
