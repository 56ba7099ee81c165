"""The seconds of several ranks that step together, as the seconds of one step."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def joint_steps(ranks: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return the seconds between the ends of successive steps, where a step ends when its last rank ends it.

    They add up to the slowest rank's time. The largest value of each step would not: ranks wait for each other inside
    a step, so one's long step is followed by a short one, and taking the larger each time counts the wait twice.

    Args:
        ranks: One sequence per rank, equally long, all begun together.
    """
    if len(ranks) == 1:
        return tuple(ranks[0])
    ends = [max(ends) for ends in zip(*(itertools.accumulate(rank) for rank in ranks), strict=True)]
    return tuple(end - before for before, end in itertools.pairwise((0.0, *ends)))


def mean_steps(ranks: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return for each step the mean over the ranks: of phases, whose means add up to the mean step."""
    if len(ranks) == 1:
        return tuple(ranks[0])
    return tuple(sum(values) / len(values) for values in zip(*ranks, strict=True))
