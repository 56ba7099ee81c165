"""When to look, and what to say: screen, confirm, extend, verdict.

Looking after every session and stopping at the first p <= 0.05 gives luck many tries: 0.160 of unchanged code alarmed,
three times the nominal rate (0.11 in the simulation of the tests, which looks at sessions 5 to 12). So the looks are
planned:

    screen    6 sessions of the whole suite; cannot alarm. A benchmark goes on if it is suspected (shift of at least
              fail_at / 2, unadjusted p <= 0.10, either way) or was neither shown to be the same nor anything else.
    confirm   8 fresh sessions of those. Joint p (max-T) over them <= 0.2 alpha.
    extend    6 more sessions, if one of them is still undecided, of all that were not found slower or faster.
              Joint p over these, on all 14 fresh sessions, <= 0.8 alpha.

What is held: the chance that any unchanged benchmark of the suite is called SLOWER is at most alpha, for any suite and
any correlation. The confirming p-values are valid whatever the screen chose, because they do not use its sessions; two
looks share alpha (Bonferroni). What was found at the first look may be left out of the second, as in a step-down test;
nothing is left out for looking unchanged, because the joint test over the rest would not be valid then. The same holds,
apart from it, for FASTER. Simulated, suites of 1 / 10 / 40 benchmarks whose sessions spread by 3.2 %: any alarm in
0.007 / 0.020 / 0.047, a slowdown of 5 % found in 0.99 / 0.98 / 0.97; with every tenth session off by another 10 %, as
on a shared machine, 0.011 / 0.020 / 0.043 and 0.98 / 0.91 / 0.74. The extension is what a wild session of eight costs:
six more sessions, not the verdict.

p-values are told as a multiple of alpha would be: divided by the share of their look.

A verdict SAME needs two things: the upper bound of the interval lies below the tolerated slowdown, and a tolerated
slowdown would have been detectable. Wrongly excluding it has a chance of (1 - confidence) / 2 per look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.core.comparison import ComparisonReason, ComparisonVerdict, Judgement
from bench.stats.power import fewest_sessions, minimum_detectable, session_spread
from bench.stats.shift import estimate_shift, hodges_lehmann
from bench.stats.signflip import joint_sign_flip_p, sign_flip_p

SCREEN_SESSIONS = 6
CONFIRM_SESSIONS = 8
EXTEND_SESSIONS = 6
SCREEN_ALPHA = 0.10

FIRST_SHARE = 0.2
"""Of alpha, spent on the first look at fresh sessions: 2 of 256 patterns, which eight sessions without a bad one reach.
The rest is the second's: 655 of 16,384 patterns, which bear three bad ones. In suites 0.2 found more than 0.4."""

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


_FOUND = frozenset({ComparisonVerdict.SLOWER, ComparisonVerdict.FASTER})


def screen(
    sessions: Sessions, threshold: Threshold | None = None, *, spreads: Sequence[float] | None = None
) -> tuple[int, ...]:
    """Return the columns that need fresh sessions: suspected of being slower or faster, or undecided.

    Args:
        sessions: Of the whole suite.
        threshold: What fails and what passes.
        spreads: One per column: what is known of its sessions' spread from elsewhere; 0 where nothing is.
    """
    threshold = threshold or Threshold()
    return tuple(
        j
        for j, (shifts, spread) in enumerate(_columns(sessions, spreads))
        if _is_suspect(shifts, threshold) or _is_undecided(judge(shifts, threshold=threshold, spread=spread))
    )


def _is_suspect(shifts: tuple[float, ...], threshold: Threshold) -> bool:
    if not shifts:
        return False
    shift = hodges_lehmann(shifts)
    is_large = abs(shift) >= math.log1p(threshold.fail_at) / 2
    return is_large and sign_flip_p(shifts, faster=shift < 0) <= SCREEN_ALPHA


def _is_undecided(judgement: Judgement) -> bool:
    """Whether more sessions could decide; where hardly any session counted, the machine is what is wrong."""
    is_open = judgement.verdict is ComparisonVerdict.INCONCLUSIVE
    return is_open and judgement.reason is not ComparisonReason.TOO_FEW_SESSIONS


def extend(
    confirmed: Sessions, threshold: Threshold | None = None, *, spreads: Sequence[float] | None = None
) -> tuple[int, ...]:
    """Return the columns of the confirming sessions that need more: none, or all that were not found to differ."""
    judgements = confirm(confirmed, threshold, spreads=spreads, share=FIRST_SHARE)
    if not any(_is_undecided(judgement) for judgement in judgements):
        return ()
    return tuple(j for j, judgement in enumerate(judgements) if judgement.verdict not in _FOUND)


def judge_suite(
    screened: Sessions,
    confirmed: Sessions | None = None,
    extended: Sessions | None = None,
    threshold: Threshold | None = None,
    *,
    spreads: Sequence[float] | None = None,
    is_extending: bool = True,
) -> tuple[Judgement, ...]:
    """Judge every benchmark of a suite after its planned looks.

    Args:
        screened: The sessions of the screen, for the whole suite.
        confirmed: Fresh sessions, one column for each that `screen(screened)` names; none if they were not run.
        extended: More of them, one column for each that `extend(confirmed)` names; none if they were not run.
        threshold: What fails and what passes.
        spreads: As `screen` takes them. A few sessions may look calmer than the machine is known to be.
        is_extending: Two looks at fresh sessions are planned; False spends all of alpha on the first.

    Returns:
        One judgement per benchmark. Where there was no doubt the screen judges, and cannot say SLOWER or FASTER.

    Raises:
        ValueError: `confirmed` or `extended` has not the columns it should have, or a value is not finite.
    """
    threshold = threshold or Threshold()
    known = tuple(spreads or (0.0,) * len(_columns(screened)))
    chosen = screen(screened, threshold, spreads=known)
    _need_columns(confirmed, chosen, "confirmed")
    fresh: dict[int, Judgement] = {}
    if confirmed:
        judged = _judge_fresh(confirmed, extended, threshold, [known[j] for j in chosen], is_extending)
        fresh = dict(zip(chosen, judged, strict=True))
    judgements = []
    for j, (shifts, spread) in enumerate(_columns(screened, known)):
        if j in fresh:
            judgements.append(replace(fresh[j], screen_shifts=shifts))
            continue
        judgement = judge(shifts, threshold=threshold, spread=spread)
        is_open = j in chosen and _is_suspect(shifts, threshold)
        judgements.append(_unconfirmed(judgement) if is_open else judgement)
    return tuple(judgements)


def _judge_fresh(
    confirmed: Sessions,
    extended: Sessions | None,
    threshold: Threshold,
    spreads: Sequence[float],
    is_extending: bool,
) -> list[Judgement]:
    """Judge at the first look, and again where the second look was taken."""
    judgements = list(confirm(confirmed, threshold, spreads=spreads, share=FIRST_SHARE if is_extending else 1.0))
    if not extended:
        return judgements
    columns = extend(confirmed, threshold, spreads=spreads)
    _need_columns(extended, columns, "extended")
    pooled = [[row[j] for j in columns] for row in confirmed] + [list(row) for row in extended]
    second = confirm(pooled, threshold, spreads=[spreads[j] for j in columns], share=1 - FIRST_SHARE)
    for j, judgement in zip(columns, second, strict=True):
        judgements[j] = judgement
    return judgements


def _need_columns(sessions: Sessions | None, columns: tuple[int, ...], name: str) -> None:
    if any(len(row) != len(columns) for row in sessions or ()):
        raise ValueError(f"{name} sessions need one column for each of the {len(columns)} benchmarks {columns}")


def confirm(
    sessions: Sessions,
    threshold: Threshold | None = None,
    *,
    spreads: Sequence[float] | None = None,
    share: float = 1.0,
) -> tuple[Judgement, ...]:
    """Judge sessions with p-values adjusted for all columns: one planned look, which may spend `share` of alpha."""
    threshold = threshold or Threshold()
    slower, faster = joint_sign_flip_p(sessions), joint_sign_flip_p(sessions, faster=True)
    return tuple(
        judge(
            shifts,
            p_slower=_shared(p_slower, share),
            p_faster=_shared(p_faster, share),
            threshold=threshold,
            share=share,
            spread=spread,
        )
        for (shifts, spread), p_slower, p_faster in zip(_columns(sessions, spreads), slower, faster, strict=True)
    )


def _shared(p: float | None, share: float) -> float | None:
    return None if p is None else min(1.0, p / share)


def judge(
    shifts: Sequence[float],
    *,
    p_slower: float | None = None,
    p_faster: float | None = None,
    threshold: Threshold | None = None,
    share: float = 1.0,
    spread: float = 0.0,
) -> Judgement:
    """Give one benchmark its verdict.

    Args:
        shifts: One log-ratio head / base per session.
        p_slower: Adjusted for the suite and the looks; None where SLOWER may not be said (a screen).
        p_faster: The same for the mirrored test.
        threshold: What fails and what passes.
        share: Of alpha, which this look may spend: what could have been detected depends on it.
        spread: Of its sessions, as far as it is known from elsewhere; the larger one counts.
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
    spread = max(spread, session_spread(shifts) or 0.0)
    detectable = minimum_detectable(spread, len(shifts), alpha=threshold.alpha * share)
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


def _columns(sessions: Sessions, spreads: Sequence[float] | None = None) -> list[tuple[tuple[float, ...], float]]:
    """Return each benchmark's sessions without the voided ones, and the spread that is known of it."""
    if not sessions:
        return []
    columns = [tuple(shift for shift in column if shift is not None) for column in zip(*sessions, strict=True)]
    return list(zip(columns, spreads or (0.0,) * len(columns), strict=True))
