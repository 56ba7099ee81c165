"""The Bayesian search for a step in a history."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats.bisection import LEAST_SPREAD, NAMED, Search
from bench.stats.looks import Bools


def in_line(count: int) -> Bools:
    return np.tri(count, dtype=bool)


def find(search: Search, step: int, size: float, noise: np.random.Generator | None = None, most: int = 120) -> int:
    """Answer what the search asks until it names something; return the number of sessions."""
    for taken in range(most):
        if search.named() is not None:
            return taken
        point = search.next()
        assert point is not None
        luck = 0.0 if noise is None else 0.02 * noise.standard_normal()
        search.observe(point, (size if point >= step else 0.0) + luck)
    return most


@given(count=st.integers(1, 60), data=st.data(), percent=st.sampled_from([2, 5, 10, 100]))
def test_without_noise_the_step_is_always_found(count: int, data: st.DataObject, percent: int) -> None:
    step = data.draw(st.integers(0, count - 1))
    size = math.log1p(percent / 100)
    search = Search(in_line(count), size=size / 2, spread=size / 10)
    assert find(search, step, size) < 40
    assert search.named() == (step,)


@given(
    count=st.integers(2, 30),
    shots=st.lists(st.tuples(st.integers(0, 29), st.floats(-10, 10)), max_size=20),
    out=st.sets(st.integers(0, 29), max_size=10),
)
def test_masses_add_up_and_groups_are_a_partition(count: int, shots: list[tuple[int, float]], out: set[int]) -> None:
    search = Search(in_line(count), size=0.02, spread=0.0)
    for point, shift in shots:
        search.observe(point % (count - 1), shift)
    for point in out:
        search.exclude(point % (count - 1))
    assert search.posterior.sum() == pytest.approx(1)
    groups = search.groups()
    assert sorted(place for group, _ in groups for place in group) == list(range(count))
    assert sum(mass for _, mass in groups) == pytest.approx(1)
    held, share = search.likely()
    assert share >= NAMED or len(held) == count
    point = search.next()
    assert point is None or (point not in {one % (count - 1) for one in out} and point < count - 1)


def test_what_cannot_be_measured_stays_together_with_the_next_commit() -> None:
    search = Search(in_line(6), size=0.02, spread=0.005)
    for point in (2, 3):
        search.exclude(point)
    assert [group for group, _ in search.groups()] == [(0,), (1,), (2, 3, 4), (5,)]
    find(search, 3, 0.05)
    assert search.named() == (2, 3, 4)


def test_nothing_can_be_told_apart_where_no_commit_between_can_be_measured() -> None:
    search = Search(in_line(3), size=0.02, spread=0.005)
    search.exclude(0)
    search.exclude(1)
    assert search.next() is None
    assert search.named() == (0, 1, 2)


def test_a_wild_session_says_nothing_and_a_clear_one_never_everything() -> None:
    wild, clear = (Search(in_line(2), size=0.02, spread=spread) for spread in (0.01, 0.0))
    wild.observe(0, 50.0)
    assert wild.posterior[0] == pytest.approx(0.5, abs=0.01)
    clear.observe(0, 0.02)
    assert clear.posterior[0] == pytest.approx(1 / (1 + math.exp(-3)))


def test_a_dismissed_commit_is_not_named_again() -> None:
    search = Search(in_line(4), size=0.02, spread=0.005)
    find(search, 1, 0.05)
    assert search.named() == (1,)
    search.dismiss([1])
    assert search.named() != (1,)
    assert search.posterior[1] == 0
    with pytest.raises(ValueError, match="all suspects"):
        search.dismiss([0, 2, 3])


def test_branches_are_told_apart_by_what_a_commit_holds() -> None:
    #   0 - 1 - 3 (merge of 1 and 2) - 4;  2 is a branch from the good end
    holds = np.array(
        [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]],
        dtype=bool,
    )
    for step in range(5):
        search = Search(holds, size=0.03, spread=0.005)
        while search.named() is None:
            point = search.next()
            assert point is not None
            search.observe(point, 0.05 * holds[point, step])
        assert search.named() == (step,)


def test_the_plateau_is_the_tested_commit_nearest_to_half() -> None:
    search = Search(in_line(9), size=0.05, spread=0.005)
    assert search.nearest_to(0.05) is None
    for point, shift in ((1, 0.0), (4, 0.048), (4, 0.052), (7, 0.1)):
        search.observe(point, shift)
    assert search.nearest_to(0.05) == 4


@pytest.mark.parametrize(("size", "spread"), [(0.0, 0.01), (-0.1, 0.01), (0.1, -1.0)])
def test_a_search_without_a_step_is_refused(size: float, spread: float) -> None:
    with pytest.raises(ValueError, match="needs suspects and a step"):
        Search(in_line(3), size=size, spread=spread)
    with pytest.raises(ValueError, match="needs suspects and a step"):
        Search(np.zeros((0, 0), dtype=bool), size=0.1, spread=0.1)
    with pytest.raises(ValueError, match="finite"):
        Search(in_line(3), size=0.1, spread=0.1).observe(0, math.nan)
    assert LEAST_SPREAD > 0


def test_through_noise_the_right_commit_is_named_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(71)
    right, sessions = 0, 0
    for _ in range(60):
        step = int(rng.integers(40))
        search = Search(in_line(40), size=0.04, spread=0.02)
        sessions += find(search, step, 0.08, rng)
        right += search.named() == (step,)
    assert right >= 57
    assert sessions / 60 < 20
