"""Cells of a run that differ in one size only, and what their times say of it.

The sizes are the batch, and every whole-number option of a model that the specs spell out: `mlp@depth=2`, `mlp@depth=4`
and `mlp@depth=8` are a group along `depth`. A group exists from two sizes on; a fit needs three.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bench.core.cell import Cell
from bench.core.estimate import Estimate
from bench.core.record import Outcome, Record
from bench.stats.scaling import MIN_POINTS, MISFIT_LIMIT, Fitted, fit_line, fit_power
from bench.stats.summary import summarise

BATCH = "batch_size"
_OPTIONS = re.compile(r"@(?=[A-Za-z_]\w*=)")  # as in model specs: the first @ before `key=`
_MANY = 2**30  # no batch of a group; stands for "any" in its key


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """One group and its fit; each figure None where it cannot be had, and `reason` says why.

    Attributes:
        group: Name for people, with `*` for the size: `mlp@depth=*/train/b8/cpu/fp32`.
        axis: `batch_size`, or the option.
        sizes: That were measured, rising; one that failed is left out.
        seconds: Median of the step at each.
        overhead_seconds: Along the batch: time of a step beyond what its examples cost.
        example_seconds: Along the batch: what one more example costs.
        batch_of_90_percent: Along the batch: where throughput reaches 90 % of its limit.
        exponent: Along an option: k of seconds ~ size^k.
        flops_exponent: The same of the step's FLOPs; along the batch too.
        misfit: How far the worst point is from the fit, as a fraction.
        follows: Whether the points follow the fit within noise; None without a fit.
    """

    group: str
    axis: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    overhead_seconds: Estimate | None = None
    example_seconds: Estimate | None = None
    batch_of_90_percent: Estimate | None = None
    exponent: Estimate | None = None
    flops_exponent: float | None = None
    misfit: float | None = None
    follows: bool | None = None
    reason: str | None = None


def scalings(records: Sequence[Record]) -> tuple[Scaling, ...]:
    """Fit every group of a run, along the batch first; () where no group has three sizes."""
    groups: dict[tuple[str, str, Cell], dict[int, Record]] = {}
    for record in records:
        for axis, size, name, rest in _sizes(record.cell):
            groups.setdefault((axis, name, rest), {}).setdefault(size, record)
    several = {key: found for key, found in groups.items() if len(found) > 1}
    if all(len(found) < MIN_POINTS for found in several.values()):
        return ()
    ordered = sorted(several.items(), key=lambda item: item[0][0] != BATCH)
    return tuple(_scaling(axis, name, found) for (axis, name, _), found in ordered)


def _sizes(cell: Cell) -> Iterator[tuple[str, int, str, Cell]]:
    """Yield every size of a cell: axis, value, name of the group, and the cell without it."""
    rest = replace(cell, batch_size=_MANY)
    yield BATCH, cell.batch_size, rest.id.replace(f"b{_MANY}", "b*"), rest
    name, *options = _OPTIONS.split(cell.model, maxsplit=1)
    pairs = [pair.partition("=") for pair in options[0].split(",")] if options else []
    for index, (key, _, value) in enumerate(pairs):
        if value.isdecimal() and int(value) > 0:
            others = [f"{k}={'*' if i == index else v}" for i, (k, _, v) in enumerate(pairs)]
            rest = replace(cell, model=f"{name}@{','.join(others)}")
            yield key, int(value), rest.id, rest


def _scaling(axis: str, name: str, found: dict[int, Record]) -> Scaling:
    measured = {size: record for size, record in sorted(found.items()) if record.outcome is Outcome.OK}
    summaries = {size: summarise(record) for size, record in measured.items()}
    steps = {size: s.step for size, s in summaries.items() if s.step is not None and s.step.point > 0}
    sizes, points = tuple(steps), [step.point for step in steps.values()]
    scaling = Scaling(group=name, axis=axis, sizes=sizes, seconds=tuple(points))
    halves = [None if step.half_width is None else step.half_width * step.point for step in steps.values()]
    fitted = (fit_line if axis == BATCH else fit_power)(sizes, points, halves)
    if fitted is None:
        return replace(scaling, reason=f"{len(sizes)} sizes were measured; a fit needs {MIN_POINTS}")
    flops = [summaries[size].flops_total for size in sizes]
    counted = [count for count in flops if count]
    exponent = fit_power(sizes, counted, halves=[None] * len(counted)) if len(counted) == len(sizes) else None
    scaling = replace(
        scaling,
        flops_exponent=exponent.slope.point if exponent else None,
        misfit=fitted.misfit,
        follows=fitted.follows,
        reason=_doubt(axis, fitted),
    )
    if axis != BATCH:
        return replace(scaling, exponent=fitted.slope)
    return replace(
        scaling,
        overhead_seconds=fitted.intercept,
        example_seconds=fitted.slope,
        batch_of_90_percent=fitted.at_share if fitted.follows else None,
    )


def _doubt(axis: str, fitted: Fitted) -> str | None:
    kind = "line" if axis == BATCH else "power"
    if not fitted.follows:
        return f"the times follow no {kind}: one is {100 * fitted.misfit:.0f} % off"
    if fitted.misfit > MISFIT_LIMIT:
        return f"one time is {100 * fitted.misfit:.0f} % off, which its own noise allows: measure longer"
    if axis == BATCH and fitted.at_share is None and fitted.intercept.point <= 0:
        return "no overhead was seen: the line meets batch 0 at no time above 0"
    if axis == BATCH and fitted.at_share is None:
        return "what one more example costs is not known apart from noise"
    return None
