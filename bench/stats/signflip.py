"""The sign-flip test over sessions: is head slower, and how surely, in one benchmark or jointly in a suite.

Without a change, swapping the roles of base and head in a session turns its log-ratio d into -d, and roles were drawn
by coin: so all 2^K sign patterns of K sessions are equally likely. The p-value counts those that look at least as slow:

    p = 2^-K #{s in {-1,1}^K : mean(s c) >= mean(c)}        (Fisher, "The Design of Experiments", 1935, section 21)

c is d, but no longer than 1.5 times the median |d| of its benchmark: one wild session of eight (-14 % among +5 %, seen
on real machines) would carry the mean off. The limit is Huber's (Ann. Math. Statist. 35 (1964) 73); it depends on |d|
alone, which no sign changes, so the test stays exact. Of slowdowns of 5 %, with a spread of 2 % and every tenth session
of 10 %, it finds 0.995 by 14 sessions where the mean finds 0.966; without such sessions both find all, and of 2 % by
8 sessions 0.79 and 0.80 (simulated).

For a suite, a bad session is bad for all its benchmarks, so whole sessions flip, and each benchmark is held against the
largest statistic of the suite (Westfall and Young, "Resampling-Based Multiple Testing", 1993, single-step max-T):

    T_j(s) = sum_k s_k c_kj / sqrt(sum_k c_kj^2),           p_j = 2^-K #{s : max_m T_m(s) >= T_j(1)}

T_j is K^(1/2) times mean_k(s_k c_kj) / rms_k(c_kj), the same order within equal K, and has variance 1 also where a
voided session leaves one benchmark fewer values. The chance of any false alarm in the suite is at most alpha, whatever
the correlation between benchmarks. The smallest p is 2^-K: with 4 sessions nothing can reach 0.05.

Each function tests "slower" (d > 0); `faster=True` is the mirror image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from bench.stats.distributions import Floats, finite

EXACT_LIMIT = 20
"""Up to 2^20 patterns are counted one by one (0.2 s for a suite of 40); above, patterns are drawn."""

DRAWS = 100_000
"""Random patterns above `EXACT_LIMIT`; p = (b + 1) / (m + 1) never is 0 (Phipson and Smyth, SAGMB 9 (2010) 39)."""

CLIP = 1.5
"""A session counts at most so many times the median size of its benchmark's shifts."""

_BLOCK = 1 << 14  # patterns held at a time
_TIE = 1e-9  # statistics closer than this are equal; rounding must not decide


def sign_flip_p(shifts: Sequence[float], *, faster: bool = False, seed: int = 0) -> float:
    """Return the one-sided p-value of one benchmark; exact up to 20 sessions, by seeded draws above.

    Raises:
        ValueError: No session, or a value that is not finite.
    """
    p = joint_sign_flip_p([[shift] for shift in finite(shifts, "shifts")], faster=faster, seed=seed)
    if not p or p[0] is None:
        raise ValueError("a test of no sessions was asked for")
    return p[0]


def joint_sign_flip_p(
    sessions: Sequence[Sequence[float | None]], *, faster: bool = False, seed: int = 0
) -> tuple[float | None, ...]:
    """Return one p-value per benchmark, adjusted for all of them together.

    Args:
        sessions: One row per session, one column per benchmark; None where the session was voided for that benchmark.
        faster: Test the other direction.
        seed: Of the draws above 20 sessions.

    Returns:
        None for a benchmark without any session.

    Raises:
        ValueError: Rows of different lengths, or a value that is not finite (missing is None, not NaN).
    """
    matrix, present = _matrix(sessions)
    if not any(present):
        return (None,) * len(present)
    norms = np.sqrt((matrix**2).sum(axis=0))
    # a benchmark of zeros has T = 0 in every pattern
    unit = np.divide(-matrix if faster else matrix, norms, out=np.zeros_like(matrix), where=norms > 0)
    observed = unit.sum(axis=0)
    order = np.sort(observed)
    above = np.zeros(observed.size + 1)  # above[i]: patterns whose maximum reaches exactly the i smallest observed
    total = 0
    for signs in _patterns(matrix.shape[0], seed):
        highest = (signs @ unit).max(axis=1)
        above += np.bincount(np.searchsorted(order - _TIE, highest, side="right"), minlength=above.size)
        total += len(signs)
    reached = above[::-1].cumsum()[::-1]  # reached[i]: maximum >= at least i of the observed
    count = np.asarray(reached[np.searchsorted(order, observed, side="left") + 1])
    if matrix.shape[0] > EXACT_LIMIT:
        count, total = count + 1, total + 1
    return tuple(float(c / total) if there else None for c, there in zip(count, present, strict=True))


def _matrix(sessions: Sequence[Sequence[float | None]]) -> tuple[Floats, list[bool]]:
    """Return clipped shifts with 0 for missing ones (0 adds nothing to a sum), and which benchmarks have any."""
    columns = {len(row) for row in sessions}
    if len(columns) > 1:
        raise ValueError(f"every session needs one value per benchmark, found rows of {sorted(columns)}")
    width = columns.pop() if columns else 0
    flat = finite([0.0 if value is None else value for row in sessions for value in row], "shifts")
    matrix = flat.reshape(len(sessions), width)
    mask = np.array([[value is not None for value in row] for row in sessions], dtype=bool).reshape(matrix.shape)
    for j in range(width):
        sizes = np.abs(matrix[mask[:, j], j])
        if not sizes.any():
            continue
        limit = CLIP * (np.median(sizes) or math.inf)  # where most are 0, the limit would leave nothing
        # scaled by the largest, so that squares neither over- nor underflow
        matrix[:, j] = np.clip(matrix[:, j], -limit, limit) / min(limit, sizes.max())
    return matrix, [bool(mask[:, j].any()) for j in range(width)]


def _patterns(sessions: int, seed: int) -> Iterator[Floats]:
    """Yield blocks of sign patterns: all of them, or seeded draws."""
    if sessions <= EXACT_LIMIT:
        for start in range(0, 1 << sessions, _BLOCK):
            numbers = np.arange(start, min(start + _BLOCK, 1 << sessions))
            yield np.where((numbers[:, None] >> np.arange(sessions)) & 1, -1.0, 1.0)
        return
    rng = np.random.default_rng(seed)
    for start in range(0, DRAWS, _BLOCK):
        yield np.where(rng.integers(0, 2, (min(_BLOCK, DRAWS - start), sessions)), -1.0, 1.0)
