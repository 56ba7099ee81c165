"""When to look, and what to say: every session counts, and each cell stops by itself.

Looking after every session and stopping at the first p <= 0.05 gives luck many tries: 0.16 of unchanged code alarmed in
a simulation. So the looks are planned, at 5, 6, 8, 10, 14 and 18 sessions of a cell, and share what they may spend.

A session gives two log-ratios head / base: of the undisturbed step, and of the mean, which also sees what slows down
some steps only. Without a change, swapping the roles of base and head turns (d, e) into (-d, -e), and roles are drawn
by coin: so all 2^K sign patterns s of K sessions are equally likely. At every look

    c        each column, no longer than 1.5 times its median size (`bench.stats.signflip`), divided by its own root
             mean square, which no sign changes
    T(s)     the larger of the two columns' sum_k s_k c_k
    spent    the patterns whose first sessions were called slower at an earlier look
    allowed  floor(2^K share alpha / cells) - #spent, `share` of alpha growing from look to look (`SHARES`)

SLOWER  #{s not spent: T(s) >= T of a column} <= allowed, and this column's Hodges-Lehmann shift is at least `fail_at`.
        "Every step" if the undisturbed column shows it, else "on average". FASTER is the mirror image.
p       cells (#spent + that number) / (2^K share): p <= alpha is the verdict.
SAME    the same test on log(1 + tolerate) - d, in each column by itself at its own levels (`SAME_LEVELS`), which the
        cells do not divide; before the eleventh session not for a suspect, so that it gets a chance to be shown.

A decided cell leaves, the others go on: no cell's test uses another cell's sessions. The chance that any unchanged cell
of the suite is ever called SLOWER is at most alpha by construction (Bonferroni over cells, exact in each: the patterns
called slower at any look are at most alpha / cells of all), and so it is for FASTER. A cell that is slower by
`tolerate` in any column is called SAME with a chance of at most 0.045. benchmarks/simulate_verdicts.py measures both.

The functions judge many comparisons at once, because "what would have been seen" (`bench.stats.power`) is answered by
simulating this very rule.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bench.stats.distributions import Floats
from bench.stats.signflip import TIE, flip_sums, unit_rows

SHARES = {5: 0.0, 6: 0.40, 8: 0.60, 10: 0.70, 14: 0.84, 18: 1.0}
"""Look, in sessions, to the share of alpha that may be spent by then. At five sessions 2^-5 is too coarse."""

SAME_LEVELS = {5: 0.032, 6: 0.032, 8: 0.036, 10: 0.040, 14: 0.043, 18: 0.045}
"""Look to the chance of a wrong SAME by then, of a cell that is slower by just what is tolerated."""

MOST_SESSIONS = max(SHARES)
FEWEST_SESSIONS = min(SHARES)
GUARDED_SESSIONS = 10
"""Up to so many sessions a suspect is not called SAME."""

SUSPECT_LEVEL = 0.10
_BLOCK = 1 << 18  # patterns times comparisons held at a time: what a core keeps close

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """What fails and what passes. Fractions, as users give them: 0.02 is 2 %.

    Attributes:
        fail_at: A shown slowdown smaller than this is not SLOWER.
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
class Plan:
    """When it is looked, and what every look may spend.

    Attributes:
        cells: Cells of the suite; they share alpha.
        most: Sessions of a cell at most; the last look spends what is left.
    """

    threshold: Threshold = field(default_factory=Threshold)
    cells: int = 1
    most: int = MOST_SESSIONS

    def __post_init__(self) -> None:
        if not (self.cells >= 1 and 1 <= self.most <= MOST_SESSIONS):
            raise ValueError(f"1 cell and 1 to {MOST_SESSIONS} sessions are needed, found {self.cells} and {self.most}")

    @property
    def looks(self) -> tuple[int, ...]:
        """Sessions at which it is looked."""
        return (*(sessions for sessions in SHARES if sessions < self.most), self.most)

    def share(self, sessions: int) -> float:
        """Return the share of alpha that may be spent by this look."""
        return 1.0 if sessions == self.most else SHARES[sessions]

    def same_level(self, sessions: int) -> float:
        """Return the chance of a wrong SAME that may be spent by this look."""
        return SAME_LEVELS[MOST_SESSIONS] if sessions == self.most else SAME_LEVELS[sessions]

    @property
    def sessions_needed(self) -> int | None:
        """Sessions until SLOWER can be said at all; None if this plan never can."""
        for sessions in self.looks:
            if _worth(2**sessions, self.threshold.alpha * self.share(sessions) / self.cells) >= 1:
                return sessions
        return None

    def next_look(self, sessions: int) -> int | None:
        """Return the first look after so many sessions."""
        return next((look for look in self.looks if look > sessions), None)


def _worth(patterns: int, level: float) -> int:
    """Return how many of so many sign patterns a level is worth."""
    return math.floor(patterns * level * (1 + TIE) + TIE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Sign patterns drawn for one look in place of all; the first flips nothing, the last flips all.

    Attributes:
        signs: Shape (sessions, patterns).
        parents: Which pattern of the look before each begins with.
    """

    signs: Floats
    parents: Integers


def draw_patterns(plan: Plan, count: int, rng: np.random.Generator) -> dict[int, Draws]:
    """Draw patterns for the looks that have more than `count`: for simulations, where all of them take too long."""
    drawn: dict[int, Draws] = {}
    codes = None
    for before, sessions in zip((0, *plan.looks), plan.looks, strict=False):
        if 1 << sessions <= count:
            continue
        if codes is None:
            codes = rng.integers(0, 1 << sessions, count)
            parents = codes & ((1 << before) - 1)
        else:
            codes = codes | rng.integers(0, 1 << (sessions - before), count) << before
            parents = np.arange(count)
        codes[0], codes[-1] = 0, (1 << sessions) - 1
        parents[0], parents[-1] = 0, (count if drawn else 1 << before) - 1
        drawn[sessions] = Draws(signs=np.where((codes >> np.arange(sessions)[:, None]) & 1, -1.0, 1.0), parents=parents)
    return drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the looks found, one entry per comparison.

    Attributes:
        verdict: 1 slower, -1 faster, 0 same, 9 nothing yet.
        column: The one that decided; 0 if none did.
        sessions: Sessions at which it was decided, or looked last; 0 before the first look.
        p_slower: Per column, the smallest of all looks so far: once shown, a slowdown stays shown; inf before one.
        p_faster: P-value of the mirrored test.
    """

    verdict: Integers
    column: Integers
    sessions: Integers
    p_slower: Floats
    p_faster: Floats

    @classmethod
    def nothing(cls, count: int, columns: int) -> Found:
        """Make what is found before the first look."""
        return cls(
            verdict=np.full(count, UNDECIDED),
            column=np.zeros(count, dtype=int),
            sessions=np.zeros(count, dtype=int),
            p_slower=np.full((count, columns), np.inf),
            p_faster=np.full((count, columns), np.inf),
        )


SLOWER, FASTER, SAME, UNDECIDED = 1, -1, 0, 9


def look(shifts: Floats, plan: Plan, draws: dict[int, Draws] | None = None) -> Found:
    """Look at many comparisons of as many sessions, each until it is decided.

    Args:
        shifts: Log-ratios head / base, shape (comparisons, sessions, columns): the undisturbed step first.
        plan: When to look.
        draws: Patterns to use in place of all, by look.
    """
    found = Found.nothing(shifts.shape[0], shifts.shape[2])
    none = np.zeros((shifts.shape[0], 1), dtype=bool)
    _Looking(shifts, plan, draws or {}, found).go_on(0, np.arange(shifts.shape[0]), (none,) * (1 + shifts.shape[2]))
    return found


@dataclass(frozen=True, slots=True)
class _Looking:
    """What all looks share; `found` is written into."""

    shifts: Floats
    plan: Plan
    draws: dict[int, Draws]
    found: Found

    def go_on(self, number: int, rows: Integers, spent: tuple[Bools, ...]) -> None:
        """Look at some comparisons, and the further looks at those of them that stay undecided.

        Args:
            number: Number of the look, from 1.
            rows: The comparisons.
            spent: Patterns that earlier looks rejected, one row per comparison: of the test of a change, then of the
                test of SAME in each column.
        """
        looks = self.plan.looks
        if number == len(looks) or looks[number] > self.shifts.shape[1]:
            return
        draws = self.draws.get(looks[number])
        size = max(1, _BLOCK // (draws.signs.shape[1] if draws else 1 << looks[number]))
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            self._once(number, rows[part], tuple(one[part] for one in spent), draws)

    def _once(self, number: int, rows: Integers, spent: tuple[Bools, ...], draws: Draws | None) -> None:
        plan, found = self.plan, self.found
        sessions = plan.looks[number]
        data = self.shifts[rows, :sessions]
        if draws is None:
            repeats = (1 << sessions) // spent[0].shape[1]
            spent = tuple(np.tile(one, (1, repeats)) for one in spent)  # bit k of a pattern's number flips session k
        else:
            spent = tuple(one[:, draws.parents] for one in spent)
        patterns, is_last = spent[0].shape[1], sessions == plan.most
        share, same_level = plan.share(sessions), plan.same_level(sessions)
        statistics = [_flipped(column, draws) for column in np.moveaxis(data, 2, 0)]
        largest = functools.reduce(np.maximum, statistics)
        level = plan.threshold.alpha * share / plan.cells
        change, up, down = _spend(largest, spent[0], level, statistics, is_last=is_last)
        if share:
            scale = plan.cells / (share * patterns)
            found.p_slower[rows] = np.minimum(found.p_slower[rows], up * scale)
            found.p_faster[rows] = np.minimum(found.p_faster[rows], down * scale)
        shift = hodges_lehmann_rows(data)
        least, tolerated = math.log1p(plan.threshold.fail_at), math.log1p(plan.threshold.tolerate)
        alpha = plan.threshold.alpha * (1 + TIE)
        slower = (found.p_slower[rows] <= alpha) & (shift >= least)
        # what is slower in one column is not called faster for the other's sake
        is_nowhere_slower = (shift < least).all(axis=1, keepdims=True)
        faster = (found.p_faster[rows] <= alpha) & (shift <= -least) & is_nowhere_slower
        is_same = np.ones(len(rows), dtype=bool)
        spent_after = [change]
        for column, before in zip(np.moveaxis(tolerated - data, 2, 0), spent[1:], strict=True):
            sums = _flipped(column, draws)
            after, count, _ = _spend(sums, before, same_level, [sums], is_last=is_last)
            # shown at an earlier look it stays shown: its own pattern, the first, is spent
            is_same &= after[:, 0] | (count[:, 0] <= _worth(patterns, same_level))
            spent_after.append(after)
        if sessions <= GUARDED_SESSIONS and not is_last:
            is_same &= ~_is_suspect(statistics, shift, least)
        verdict = np.select([slower.any(axis=1), faster.any(axis=1), is_same], [SLOWER, FASTER, SAME], UNDECIDED)
        found.verdict[rows] = verdict
        found.column[rows] = np.select([verdict == SLOWER, verdict == FASTER], [slower.argmax(1), faster.argmax(1)], 0)
        found.sessions[rows] = sessions
        left = verdict == UNDECIDED
        if left.any():
            self.go_on(number + 1, rows[left], tuple(one[left] for one in spent_after))


def _spend(
    largest: Floats, spent: Bools, level: float, statistics: Sequence[Floats], *, is_last: bool
) -> tuple[Bools, Floats, Floats]:
    """Test at one look.

    Returns:
        The patterns that are spent after it; and per column how many patterns are as slow as what was observed, or
        spent before; and as fast.
    """
    patterns = largest.shape[1]
    before = spent.sum(axis=1)
    still = np.where(spent, -np.inf, largest)
    counts = [
        np.stack([before + (still >= one[:, [place]] - TIE).sum(axis=1) for one in statistics], axis=1)
        for place in (0, -1)  # T of the mirrored test is T of the flipped pattern; the last one flips all
    ]
    most = _worth(patterns, level)
    if is_last or not most:
        return spent, counts[0], counts[1]
    allowed = most - before
    top = np.sort(np.partition(still, patterns - 1 - most, axis=1)[:, patterns - 1 - most :], axis=1)
    limit = top[np.arange(len(top)), most - np.maximum(allowed, 0)]
    is_new = (still > limit[:, None] + TIE) & (allowed > 0)[:, None]
    return spent | is_new, counts[0], counts[1]


def _is_suspect(statistics: Sequence[Floats], shift: Floats, least: float) -> Bools:
    """Whether a column is half as much slower or faster as fails, and not by obvious luck."""
    found = np.zeros(len(shift), dtype=bool)
    for index, sums in enumerate(statistics):
        for sign, place in ((1, 0), (-1, -1)):
            p = (sums >= sums[:, [place]] - TIE).mean(axis=1)
            found |= (sign * shift[:, index] >= least / 2) & (p <= SUSPECT_LEVEL)
    return found


def _flipped(values: Floats, draws: Draws | None) -> Floats:
    """Return T of one column under every pattern."""
    unit = unit_rows(values)
    return flip_sums(unit) if draws is None else unit @ draws.signs


def hodges_lehmann_rows(data: Floats) -> Floats:
    """Return the median of the Walsh averages along axis 1."""
    first, second = np.triu_indices(data.shape[1])
    medians: Floats = np.median(data[:, first] / 2 + data[:, second] / 2, axis=1)
    return medians
