"""Sessions to comparisons: what the statistics say of each cell, with its figures, facts and voided sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from bench.core.advice import Facts
from bench.core.cell import Cell
from bench.core.comparison import Comparison, ComparisonReason, ComparisonVerdict, Judgement
from bench.core.errors import ExitCode
from bench.core.estimate import Estimate
from bench.runner.ab.session import AbSession, CellSession
from bench.stats.estimate import estimate_median_of_processes
from bench.stats.looks import Plan
from bench.stats.verdict import judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """Why a cell cannot be compared: the side that failed (`base`, `head` or `both`), and what it said."""

    side: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What counting found: facts to show, and whether both sides do the same work."""

    facts: Facts = ()
    is_same: bool = True


def judge_all(
    cells: Sequence[Cell],
    sessions: Sequence[AbSession],
    plan: Plan,
    *,
    fates: dict[str, Fate],
    spreads: dict[str, float],
    is_cut_short: bool,
) -> tuple[Comparison, ...]:
    """Make one comparison per cell, in the order of the cells; the sessions stand in the order they were taken.

    By cell key are why one cannot be compared, and the spread of a session that a calibration found.
    """
    threshold = plan.threshold
    comparisons = []
    for cell in cells:
        measured = [one for session in sessions for one in session.cells if one.cell == cell]
        voided = tuple(sorted(Counter(one.void for one in measured if one.void is not None).items()))
        fate = fates.get(cell.key)
        if fate is not None:
            comparisons.append(_unjudged(cell, fate, voided))
            continue
        good = [one for one in measured if one.void is None and one.quads]
        shifts, means = columns_of(sessions, cell)
        judgement = judge(shifts, means, plan, spread=spreads.get(cell.key, 0.0), is_cut_short=is_cut_short)
        comparisons.append(
            Comparison(
                cell_id=cell.id,
                cell_key=cell.key,
                base=_estimate(good, "base"),
                head=_estimate(good, "head"),
                voided=voided,
                facts=(("fail_at", threshold.fail_at), ("tolerate", threshold.tolerate), ("alpha", threshold.alpha)),
                **{field.name: getattr(judgement, field.name) for field in fields(Judgement)},
            )
        )
    return tuple(comparisons)


def columns_of(sessions: Sequence[AbSession], cell: Cell) -> tuple[list[float], list[float]]:
    """Return a cell's log-ratios of the undisturbed step and of the mean, of all sessions that count."""
    good = [one for session in sessions for one in session.cells if one.cell == cell and one.void is None]
    pairs = [(one.shift, one.mean_shift) for one in good if one.shift is not None and one.mean_shift is not None]
    return [shift for shift, _ in pairs], [mean for _, mean in pairs]


def with_work(
    comparisons: Sequence[Comparison], work: dict[str, Work], *, judges_other: bool = False
) -> tuple[Comparison, ...]:
    """Add what counting found; other work is no comparison of code, so its times stand without a verdict.

    `judges_other` leaves the verdict: who looks for the commit that made a model slower wants one that made it larger.
    """
    done = []
    for comparison in comparisons:
        found = work.get(comparison.cell_key, Work())
        comparison = replace(comparison, facts=(*comparison.facts, *found.facts))
        if not judges_other and not found.is_same and comparison.reason is not ComparisonReason.MISSING_SIDE:
            comparison = replace(
                comparison, verdict=ComparisonVerdict.INCOMPARABLE, reason=ComparisonReason.DIFFERENT_WORK
            )
        done.append(comparison)
    return tuple(done)


def exit_code(comparisons: Sequence[Comparison], *, unfit: bool, strict: bool) -> ExitCode:
    """Join a comparison into one answer: a regression counts most, then what could not be compared."""
    verdicts = {comparison.verdict for comparison in comparisons}
    if ComparisonVerdict.SLOWER in verdicts:
        return ExitCode.REGRESSION
    if unfit or ComparisonVerdict.INCOMPARABLE in verdicts:
        return ExitCode.UNFIT
    if strict and ComparisonVerdict.INCONCLUSIVE in verdicts:
        return ExitCode.INCONCLUSIVE
    return ExitCode.FINE


def _unjudged(cell: Cell, fate: Fate, voided: tuple[tuple[str, int], ...]) -> Comparison:
    return Comparison(
        cell_id=cell.id,
        cell_key=cell.key,
        verdict=ComparisonVerdict.INCOMPARABLE,
        reason=ComparisonReason.MISSING_SIDE,
        voided=voided,
        facts=(("side", fate.side), ("error", fate.reason)),
    )


def _estimate(sessions: Sequence[CellSession], side: str) -> Estimate | None:
    """Estimate the seconds per step of a side over its processes, one per session."""
    samples = [
        [second for quad in one.quads for visit in (quad.base if side == "base" else quad.head) for second in visit]
        for one in sessions
    ]
    return estimate_median_of_processes(samples) if samples else None
