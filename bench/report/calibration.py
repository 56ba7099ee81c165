"""A machine's noise to eyes: one row per cell, and what the columns mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.report.comparison import short_names
from bench.report.comparison_words import change, percent_of
from bench.report.layout import Column, Page, render


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The noise of one cell when nothing changed; fields as in `bench.runner.calibration.CellNoise`."""

    cell_id: str
    sessions: int
    within: float
    between: float
    best_quads: int
    detectable: tuple[tuple[int, float], ...]
    slot_shift: float
    slot_p: float


def calibration_report(noises: Sequence[Noise], *, width: int = 80, color: bool = False, unicode: bool = True) -> str:
    """Write a calibration for a terminal."""
    page = Page(width=width, color=color, unicode=unicode)
    names, common = short_names([noise.cell_id for noise in noises])
    plans = sorted({sessions for noise in noises for sessions, _ in noise.detectable})
    columns = [
        Column(header="cell", cells=tuple(names), right=False, key=True),
        Column(header="sessions", cells=tuple(str(n.sessions) for n in noises), rank=1),
        Column(header="within %", cells=tuple(percent_of(n.within) for n in noises)),
        Column(header="between %", cells=tuple(percent_of(n.between) for n in noises)),
        Column(header="best quads", cells=tuple(str(n.best_quads) for n in noises)),
        *(
            Column(header=f"sees({plan}) %", cells=tuple(percent_of(dict(n.detectable).get(plan)) for n in noises))
            for plan in plans
        ),
        Column(header="2nd %", cells=tuple(change(n.slot_shift) for n in noises)),
        Column(header="p", cells=tuple(f"{n.slot_p:.3f}" for n in noises)),
    ]
    meaning = (
        "within: spread of quads in a session; between: of sessions beyond that. sees(K): slowdown that K sessions "
        "find with 80 % power. 2nd: how much slower the process started second was, with its two-sided p; roles are "
        "drawn by coin, so it costs power but alarms nobody."
    )
    parts = [page.paint(page.wrap(common), "dim"), render(columns, page), "", page.wrap(meaning)]
    return "\n".join(parts)
