"""The sections of the report, in their order on the page; see `bench.report.html` for how to add one."""

from __future__ import annotations

from bench.report.html.contract import Section
from bench.report.html.sections import (
    answer,
    cells,
    claims,
    documents,
    environment,
    history,
    memory,
    pareto,
    phases,
    profile,
    roofline,
    scaling,
    training,
    verdicts,
)

SECTIONS: tuple[Section, ...] = (
    documents.COMPARISON,
    answer.SECTION,
    cells.SECTION,
    training.SECTION,
    phases.SECTION,
    documents.START,
    profile.SECTION,
    scaling.SECTION,
    documents.RANKS,
    documents.GROWTH,
    documents.TEXT,
    documents.IMAGES,
    memory.SECTION,
    roofline.SECTION,
    pareto.SECTION,
    claims.SECTION,
    documents.LAYERS,
    verdicts.SECTION,
    history.SECTION,
    environment.SECTION,
)
