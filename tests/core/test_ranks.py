"""Seconds of several ranks as those of one step: closed forms and properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.record import joint_steps, mean_steps

RANKS = st.integers(1, 6).flatmap(
    lambda n: st.lists(st.lists(st.floats(1e-6, 10), min_size=n, max_size=n), min_size=1, max_size=4)
)


def test_a_step_ends_when_the_last_rank_ends_it():
    # Ends: 1, 2, 6 and 2, 3, 5; the last ends are 2, 3, 6.
    assert joint_steps([[1, 1, 4], [2, 1, 2]]) == (2, 1, 3)


def test_waiting_for_each_other_is_not_counted_twice():
    """Two ranks that are long in turn: each has 3 s for two steps, and so has the whole."""
    assert sum(joint_steps([[1, 2], [2, 1]])) == 3
    assert sum(map(max, zip([1, 2], [2, 1], strict=True))) == 4


@given(RANKS)
def test_joint_steps_add_up_to_the_slowest_rank(ranks):
    joint = joint_steps(ranks)
    assert sum(joint) == pytest.approx(max(map(sum, ranks)))
    assert min(joint) >= 0
    assert len(joint) == len(ranks[0])


@given(RANKS)
def test_mean_steps_add_up_to_the_mean_rank(ranks):
    assert sum(mean_steps(ranks)) == pytest.approx(sum(map(sum, ranks)) / len(ranks))


def test_one_rank_is_left_as_it_is():
    assert joint_steps([[0.1, 0.2]]) == mean_steps([[0.1, 0.2]]) == (0.1, 0.2)


def test_ranks_with_unequal_steps_are_refused():
    with pytest.raises(ValueError, match="longer"):
        joint_steps([[1.0], [1.0, 2.0]])
