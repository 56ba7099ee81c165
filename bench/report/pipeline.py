"""Input pipelines as text: what the loader gives, what the step takes, what both reach, and who waits for whom."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.pipeline import PipelinePoint
from bench.core.record import Outcome
from bench.core.units import format_count, format_seconds
from bench.report.advice import loose_advice_text
from bench.report.columns import figure_column, timed_columns
from bench.report.figures import percent, plain
from bench.report.layout import Column, Page, render
from bench.report.training import plan_text


def pipeline_text(points: Sequence[PipelinePoint], width: int = 80, color: bool = False, unicode: bool = True) -> str:
    """Write one row per combination; below it who waits, with figures."""
    page = Page(width=width, color=color, unicode=unicode)
    spans = {
        row: f"{point.outcome.value.replace('_', ' ').upper()}: {plain(point.reason or '')}"
        for row, point in enumerate(points)
        if point.outcome is not Outcome.OK
    }
    first = points[0].plan
    parts = [
        page.paint(page.wrap(f"{plain(first.model)} on {plain(first.data)}: {plan_text(first, is_axis=True)}"), "dim")
    ]
    parts += ["", page.wrap("Examples per second of the loader alone, the step alone, and both together:"), ""]
    parts.append(render(pipeline_columns(points), page, spans=spans))
    measured = [point for point in points if point.outcome is Outcome.OK]
    parts += ["", *(page.wrap(sentence, "  ") for sentence in map(_sentence, measured))]
    if doubts := loose_advice_text([advice for point in points for advice in point.advice], page):
        parts += ["", doubts]
    return "\n".join(parts)


def pipeline_columns(points: Sequence[PipelinePoint]) -> list[Column]:
    """Make the columns: the axes, three throughputs, the share of waiting, the loader's start."""
    plans = [point.plan for point in points]
    pins = tuple("on" if plan.pin_memory else "off" for plan in plans)
    return [
        Column(header="batch", cells=tuple(str(plan.batch_size) for plan in plans), key=True),
        Column(header="workers", cells=tuple(str(plan.workers) for plan in plans), key=True),
        Column(header="prefetch", cells=tuple(str(plan.prefetch or "-") for plan in plans), key=True),
        *([Column(header="pinned", cells=pins, right=False, key=True)] if len(set(pins)) > 1 else []),
        *figure_column("loader /s", [p.data_examples_per_second for p in points], 0, format_count),
        *figure_column("step /s", [p.step_examples_per_second for p in points], 0, format_count),
        *figure_column("both /s", [p.joint_examples_per_second for p in points], 0, format_count),
        *figure_column("waiting %", [p.wait_fraction for p in points], 0, percent),
        *timed_columns("first batch", [p.start_seconds for p in points], [None] * len(points), 1),
    ]


def point_name(point: PipelinePoint) -> str:
    """Name a combination: `batch 64, 2 workers, prefetch 2`."""
    plan = point.plan
    words = [f"batch {plan.batch_size}", f"{plan.workers} worker{'' if plan.workers == 1 else 's'}"]
    words += [f"prefetch {plan.prefetch}"] if plan.prefetch else []
    return ", ".join([*words, *(["pinned"] if plan.pin_memory else [])])


def _sentence(point: PipelinePoint) -> str:
    """Say what both reach of what the slower one can."""
    loader, step, both = (
        point.data_examples_per_second,
        point.step_examples_per_second,
        point.joint_examples_per_second,
    )
    if not loader or not step or not both:
        return f"{point_name(point)}: not measured"
    slower = "loader" if loader < step else "step"
    wait = sum(point.wait_seconds) / len(point.wait_seconds)
    return (
        f"{point_name(point)}: the {slower} is the slower one, and both together reach "
        f"{both / min(loader, step) * 100:.0f} % of it; a step waits {format_seconds(wait)} for its batch."
    )
