"""Which commit made a cell slower: a Bayesian search that takes one noisy session at a time.

A session compares the good end with one commit of the history, and gives a log-ratio d: about 0 before the step,
about its size from it on. Classic bisection decides each commit once and never doubts it again; with one session per
commit it names a wrong one in 53 of 100 cases (a step of 5 %, sessions that spread by 2 %), with this search in 1.

    prior       every suspect alike
    likelihood  a suspect that the tested commit holds is multiplied by exp(+L/2), every other by exp(-L/2), with
                L = l(d - size) - l(d), at most 3 either way; l(x) = -2 ln(1 + (x / s)^2 / 3), Student's t of 3 degrees:
                one wild session moves little
    next        the commit whose suspects hold half of the mass; one that was measured before, if it holds 0.35 to 0.65
    stop        0.95 in one group: suspects between which no commit can be measured stay together

`size` is taken low, half of the whole change: then one step is found, and of two equal ones either. The search only
names; what is said rests on fresh sessions of the named commit against the one before it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from bench.stats.distributions import Floats
from bench.stats.looks import Bools
from bench.stats.shift import hodges_lehmann

NAMED = 0.95
"""Mass at which a group is named."""

LEAST_SPREAD = 0.004
"""Sessions are never taken to spread less: six of them may agree by luck."""

_CLIP = 3.0
_SPLITS = (0.35, 0.65)


class Search:
    """The search for one step of one cell.

    Args:
        holds: Commits that can be tested by suspects: whether the commit's history holds the suspect.
        size: Smallest size of the step, a log-ratio.
        spread: Spread of a session.
    """

    def __init__(self, holds: Bools, *, size: float, spread: float) -> None:
        if holds.ndim != 2 or not holds.shape[1] or not (size > 0 and spread >= 0):
            raise ValueError(f"a search needs suspects and a step, found {holds.shape}, {size} and {spread}")
        self._holds = holds
        self._size = size
        self._spread = max(spread, LEAST_SPREAD)
        self._logs = np.zeros(holds.shape[1])
        self._out: set[int] = set()
        self._shifts: dict[int, list[float]] = defaultdict(list)  # what sessions of each tested commit gave
        self._groups = self._together()

    @property
    def posterior(self) -> Floats:
        """The mass of every suspect; they add up to 1."""
        mass = np.exp(self._logs - self._logs.max())
        total: Floats = mass / mass.sum()
        return total

    def observe(self, point: int, shift: float) -> None:
        """Add a session of the good end against a commit."""
        if not math.isfinite(shift):
            raise ValueError(f"a session's shift must be finite, found {shift}")
        ratio = _log_t(shift - self._size, self._spread) - _log_t(shift, self._spread)
        self._logs += np.where(self._holds[point], 0.5, -0.5) * min(_CLIP, max(-_CLIP, ratio))
        self._shifts[point].append(shift)

    def exclude(self, point: int) -> None:
        """Never test this commit again: it cannot be measured. Its suspects stay, together with the next ones."""
        self._out.add(point)
        self._groups = self._together()

    def _together(self) -> list[tuple[int, ...]]:
        left = [point for point in range(len(self._holds)) if point not in self._out]
        found: dict[bytes, list[int]] = {}
        for suspect, column in enumerate(np.ascontiguousarray(self._holds[left].T)):
            found.setdefault(column.tobytes(), []).append(suspect)
        return [tuple(group) for group in found.values()]

    def dismiss(self, group: Sequence[int]) -> None:
        """Remove suspects: fresh sessions of just these showed no step. Not all of them."""
        self._logs[list(group)] = -np.inf
        if not np.isfinite(self._logs).any():
            raise ValueError("all suspects were dismissed")

    def groups(self) -> list[tuple[tuple[int, ...], float]]:
        """Return the suspects that no commit can tell apart, with their mass, in the order of the suspects."""
        posterior = self.posterior.tolist()
        return [(group, math.fsum(posterior[suspect] for suspect in group)) for group in self._groups]

    def named(self) -> tuple[int, ...] | None:
        """Return the group that holds enough of the mass to be named; None so far."""
        group, mass = max(self.groups(), key=lambda one: one[1])
        return group if mass >= NAMED else None

    def likely(self) -> tuple[tuple[int, ...], float]:
        """Return the fewest suspects that hold enough of the mass, in their order, and what they hold."""
        taken: list[int] = []
        held = 0.0
        for group, mass in sorted(self.groups(), key=lambda one: -one[1]):
            taken += group
            held += mass
            if held >= NAMED:
                break
        return tuple(sorted(taken)), held

    def next(self) -> int | None:
        """Return the commit to test; None if none can tell any suspects apart."""
        held = self._holds @ self.posterior
        useful = [
            point
            for point in range(len(held))
            if point not in self._out and not self._holds[point].all() and self._holds[point].any()
        ]
        if not useful:
            return None
        known = [point for point in useful if point in self._shifts and _SPLITS[0] <= held[point] <= _SPLITS[1]]
        return min(known or useful, key=lambda point: abs(held[point] - 0.5))

    def nearest_to(self, shift: float) -> int | None:
        """Return the tested commit whose own shift is nearest to one, to part the history at a plateau."""
        if not self._shifts:
            return None
        return min(self._shifts, key=lambda point: abs(hodges_lehmann(self._shifts[point]) - shift))


def _log_t(x: float, spread: float) -> float:
    return -2 * math.log1p((x / spread) ** 2 / 3)
