"""The sections of the report, in their order on the page; see `bench.report.html` for how to add one."""

from __future__ import annotations

from bench.report.html.contract import Section
from bench.report.html.sections import (
    answer,
    cells,
    claims,
    comparison,
    environment,
    generation,
    growth,
    history,
    layers,
    memory,
    pareto,
    phases,
    profile,
    roofline,
    scaling,
    start,
    training,
    verdicts,
)

SECTIONS: tuple[Section, ...] = (
    comparison.SECTION,
    answer.SECTION,
    cells.SECTION,
    training.SECTION,
    phases.SECTION,
    start.SECTION,
    profile.SECTION,
    scaling.SECTION,
    growth.SECTION,
    generation.TEXT,
    generation.IMAGES,
    memory.SECTION,
    roofline.SECTION,
    pareto.SECTION,
    claims.SECTION,
    layers.SECTION,
    verdicts.SECTION,
    history.SECTION,
    environment.SECTION,
)
