"""When to look, and what to say: screen, confirm, verdict.

Looking after every session and stopping at the first p <= 0.05 gives luck many tries: 0.160 of unchanged code alarmed,
three times the nominal rate (0.11 in the simulation of the tests, which looks at sessions 5 to 12). So the looks are
planned. Two, with fresh data for the second:

    screen    6 sessions of the whole suite. Suspect: shift of at least fail_at / 2, unadjusted p <= 0.10, either way.
    confirm   8 fresh sessions of the suspects alone. Only these count. Joint p (max-T) over the suspects <= alpha.

What is held: the chance that any unchanged benchmark of the suite is called SLOWER is at most alpha, for any suite and
any correlation, because the confirming p-values hold alpha whatever the screen chose; mostly the screen lowers it
(simulated: 0.00 to 0.04 for suites of 1 to 40). The same, apart from it, for FASTER. The price is power: a slowdown
must show twice. The screen is loose (0.10, half of fail_at) because it alone cannot alarm.

A verdict SAME needs two things: the upper bound of the interval lies below the tolerated slowdown, and a tolerated
slowdown would have been detectable. Wrongly excluding it has a chance of (1 - confidence) / 2 per look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.core.comparison import ComparisonReason, ComparisonVerdict
from bench.stats.power import detectable_of, fewest_sessions
from bench.stats.shift import estimate_shift, hodges_lehmann
from bench.stats.signflip import joint_sign_flip_p, sign_flip_p

SCREEN_SESSIONS = 6
CONFIRM_SESSIONS = 8
SCREEN_ALPHA = 0.10

Sessions = Sequence[Sequence[float | None]]
"""One row per session, one column per benchmark; None where the session was voided for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """What fails and what passes. Fractions, as users give them: 0.02 is 2 %.

    Attributes:
        fail_at: A confirmed slowdown smaller than this is not SLOWER.
        tolerate: SAME needs a slowdown of this size excluded. At least `fail_at`.
        alpha: Chance of any false alarm in the suite.
    """

    fail_at: float = 0.02
    tolerate: float = 0.05
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if not (0 <= self.fail_at <= self.tolerate and 0 < self.tolerate < math.inf and 0 < self.alpha < 1):
            raise ValueError(
                f"0 <= fail_at <= tolerate and 0 < alpha < 1 are needed, "
                f"found {self.fail_at}, {self.tolerate} and {self.alpha}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The statistical half of a `Comparison`, with the same fields."""

    verdict: ComparisonVerdict
    reason: ComparisonReason
    shift: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float = 0.95
    p_adjusted: float | None = None
    minimum_detectable: float | None = None
    session_shifts: tuple[float, ...] = ()
    screen_shifts: tuple[float, ...] = ()


def screen(sessions: Sessions, threshold: Threshold | None = None) -> tuple[int, ...]:
    """Return the columns that need fresh sessions: suspected of being slower or faster."""
    least = math.log1p((threshold or Threshold()).fail_at) / 2
    return tuple(j for j, shifts in enumerate(_columns(sessions)) if _is_suspect(shifts, least))


def _is_suspect(shifts: tuple[float, ...], least: float) -> bool:
    if not shifts:
        return False
    shift = hodges_lehmann(shifts)
    return abs(shift) >= least and sign_flip_p(shifts, faster=shift < 0) <= SCREEN_ALPHA


def judge_suite(
    screened: Sessions, confirmed: Sessions | None = None, threshold: Threshold | None = None
) -> tuple[Judgement, ...]:
    """Judge every benchmark of a suite after its planned looks.

    Args:
        screened: The sessions of the screen, for the whole suite.
        confirmed: Fresh sessions, one column per suspect as `screen(screened)` orders them; None if not run.
        threshold: What fails and what passes.

    Returns:
        One judgement per benchmark. Where there was no suspicion the screen judges, and cannot say SLOWER or FASTER.

    Raises:
        ValueError: `confirmed` has not one column per suspect, or a value is not finite.
    """
    threshold = threshold or Threshold()
    suspects = screen(screened, threshold)
    if confirmed is not None and any(len(row) != len(suspects) for row in confirmed):
        raise ValueError(f"one column for each of the {len(suspects)} suspects {suspects} is needed in every session")
    fresh = dict(zip(suspects, confirm(confirmed or (), threshold), strict=False))
    judgements = []
    for j, shifts in enumerate(_columns(screened)):
        if j not in suspects:
            judgements.append(judge(shifts, threshold=threshold))
        elif j in fresh:
            judgements.append(replace(fresh[j], screen_shifts=shifts))
        else:
            judgements.append(_unconfirmed(judge(shifts, threshold=threshold)))
    return tuple(judgements)


def confirm(sessions: Sessions, threshold: Threshold | None = None) -> tuple[Judgement, ...]:
    """Judge sessions with p-values adjusted for all columns: fresh ones of the suspects, or one planned look at all."""
    threshold = threshold or Threshold()
    slower, faster = joint_sign_flip_p(sessions), joint_sign_flip_p(sessions, faster=True)
    return tuple(
        judge(shifts, p_slower=p_slower, p_faster=p_faster, threshold=threshold)
        for shifts, p_slower, p_faster in zip(_columns(sessions), slower, faster, strict=True)
    )


def judge(
    shifts: Sequence[float],
    *,
    p_slower: float | None = None,
    p_faster: float | None = None,
    threshold: Threshold | None = None,
) -> Judgement:
    """Give one benchmark its verdict.

    Args:
        shifts: One log-ratio head / base per session.
        p_slower: Adjusted for the suite; None where SLOWER may not be said (a screen).
        p_faster: The same for the mirrored test.
        threshold: What fails and what passes.
    """
    threshold = threshold or Threshold()
    if len(shifts) < fewest_sessions(threshold.alpha):
        shift = hodges_lehmann(shifts) if shifts else None
        return Judgement(
            verdict=ComparisonVerdict.INCONCLUSIVE,
            reason=ComparisonReason.TOO_FEW_SESSIONS,
            shift=shift,
            session_shifts=tuple(shifts),
        )
    estimate = estimate_shift(shifts)
    detectable = detectable_of(shifts, alpha=threshold.alpha)
    verdict, reason = _decide(estimate.point, estimate.high, detectable, p_slower, p_faster, threshold)
    return Judgement(
        verdict=verdict,
        reason=reason,
        shift=estimate.point,
        low=estimate.low,
        high=estimate.high,
        confidence=estimate.confidence,
        p_adjusted=p_faster if estimate.point < 0 else p_slower,
        minimum_detectable=detectable,
        session_shifts=tuple(shifts),
    )


def _decide(
    shift: float,
    high: float | None,
    detectable: float | None,
    p_slower: float | None,
    p_faster: float | None,
    threshold: Threshold,
) -> tuple[ComparisonVerdict, ComparisonReason]:
    least, tolerated = math.log1p(threshold.fail_at), math.log1p(threshold.tolerate)
    if p_slower is not None and p_slower <= threshold.alpha and shift >= least:
        return ComparisonVerdict.SLOWER, ComparisonReason.SLOWDOWN_CONFIRMED
    if p_faster is not None and p_faster <= threshold.alpha and shift <= -least:
        return ComparisonVerdict.FASTER, ComparisonReason.SPEEDUP_CONFIRMED
    if detectable is None or detectable > tolerated:
        return ComparisonVerdict.INCONCLUSIVE, ComparisonReason.CANNOT_DETECT
    if high is None or high >= tolerated:
        return ComparisonVerdict.INCONCLUSIVE, ComparisonReason.SLOWDOWN_NOT_EXCLUDED
    return ComparisonVerdict.SAME, ComparisonReason.SLOWDOWN_EXCLUDED


def _unconfirmed(judgement: Judgement) -> Judgement:
    """Take the verdict back from a suspect whose fresh sessions were not run."""
    return replace(judgement, verdict=ComparisonVerdict.INCONCLUSIVE, reason=ComparisonReason.SUSPECT_NOT_CONFIRMED)


def _columns(sessions: Sessions) -> list[tuple[float, ...]]:
    """Return each benchmark's sessions without the voided ones."""
    return [tuple(shift for shift in column if shift is not None) for column in zip(*sessions, strict=True)]
