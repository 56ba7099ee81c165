"""Sessions to comparisons: what the statistics say of each cell, with its figures, facts and voided sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from bench.core.cell import Cell
from bench.core.comparison import Comparison, ComparisonReason, ComparisonVerdict, Judgement
from bench.core.errors import ExitCode
from bench.core.estimate import Estimate
from bench.runner.ab.session import AbSession, CellSession
from bench.stats.estimate import estimate_median_of_processes
from bench.stats.looks import Threshold, judge_suite

Facts = tuple[tuple[str, str | int | float], ...]


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
    *,
    columns: Sequence[Cell],
    chosen: Sequence[Cell],
    left: Sequence[Cell],
    screened: Sequence[AbSession],
    confirmed: Sequence[AbSession],
    extended: Sequence[AbSession],
    fates: dict[str, Fate],
    threshold: Threshold,
    is_extending: bool,
    spreads: dict[str, float],
) -> tuple[Comparison, ...]:
    """Make one comparison per cell, in the order of the cells.

    Args:
        cells: All that were asked for.
        columns: Those that the screen measured to its end.
        chosen: Those of the columns that `confirmed` measured again.
        left: Those of the chosen that `extended` measured further.
        screened: The screen.
        confirmed: Fresh sessions; empty if none were run.
        extended: Further ones; likewise.
        fates: By cell key, why a cell cannot be compared.
        threshold: What fails and what passes.
        is_extending: A second look at fresh sessions was planned.
        spreads: By cell key, the spread of a session that a calibration found.
    """
    judged: tuple[Judgement, ...] = ()
    if screened and columns:
        judged = judge_suite(
            matrix(screened, columns),
            matrix(confirmed, chosen),
            matrix(extended, left),
            threshold,
            spreads=[spreads.get(cell.key, 0.0) for cell in columns],
            is_extending=is_extending,
        )
    by_key = {cell.key: judgement for cell, judgement in zip(columns, judged, strict=False)}
    comparisons = []
    for cell in cells:
        measured = [one for session in (*screened, *confirmed, *extended) for one in session.cells if one.cell == cell]
        voided = tuple(sorted(Counter(one.void for one in measured if one.void is not None).items()))
        fate, judgement = fates.get(cell.key), by_key.get(cell.key)
        if fate is not None or judgement is None:
            comparisons.append(_unjudged(cell, fate, voided))
            continue
        good = [one for one in measured if one.void is None and one.quads]
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


def matrix(sessions: Sequence[AbSession], columns: Sequence[Cell]) -> list[list[float | None]]:
    """Lay shifts out with one row per session, one column per cell; None where a session does not count."""
    rows: list[list[float | None]] = []
    for session in sessions:
        shifts = {one.cell.key: one.shift for one in session.cells if one.void is None}
        rows.append([shifts.get(cell.key) for cell in columns])
    return rows


def with_work(comparisons: Sequence[Comparison], work: dict[str, Work]) -> tuple[Comparison, ...]:
    """Add what counting found; other work is no comparison of code, so its times stand without a verdict."""
    done = []
    for comparison in comparisons:
        found = work.get(comparison.cell_key, Work())
        comparison = replace(comparison, facts=(*comparison.facts, *found.facts))
        if not found.is_same and comparison.reason is not ComparisonReason.MISSING_SIDE:
            comparison = replace(
                comparison, verdict=ComparisonVerdict.INCOMPARABLE, reason=ComparisonReason.DIFFERENT_WORK
            )
        done.append(comparison)
    return tuple(done)


def exit_code(comparisons: Sequence[Comparison], *, unfit: bool, strict: bool) -> ExitCode:
    """Give the whole comparison one answer: a regression counts most, then what could not be compared."""
    verdicts = {comparison.verdict for comparison in comparisons}
    if ComparisonVerdict.SLOWER in verdicts:
        return ExitCode.REGRESSION
    if unfit or ComparisonVerdict.INCOMPARABLE in verdicts:
        return ExitCode.UNFIT
    if strict and ComparisonVerdict.INCONCLUSIVE in verdicts:
        return ExitCode.INCONCLUSIVE
    return ExitCode.FINE


def _unjudged(cell: Cell, fate: Fate | None, voided: tuple[tuple[str, int], ...]) -> Comparison:
    return Comparison(
        cell_id=cell.id,
        cell_key=cell.key,
        verdict=ComparisonVerdict.INCOMPARABLE if fate else ComparisonVerdict.INCONCLUSIVE,
        reason=ComparisonReason.MISSING_SIDE if fate else ComparisonReason.TOO_FEW_SESSIONS,
        voided=voided,
        facts=(("side", fate.side), ("error", fate.reason)) if fate else (),
    )


def _estimate(sessions: Sequence[CellSession], side: str) -> Estimate | None:
    """Estimate the seconds per step of a side over its processes, one per session."""
    samples = [
        [second for quad in one.quads for visit in (quad.base if side == "base" else quad.head) for second in visit]
        for one in sessions
    ]
    return estimate_median_of_processes(samples) if samples else None
