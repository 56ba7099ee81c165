import math

import pytest

from bench.stats.distributions import durations, finite, fraction


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_named_with_its_index(bad):
    with pytest.raises(ValueError, match="index 1"):
        finite([1.0, bad])


def test_a_negative_duration_is_refused():
    with pytest.raises(ValueError, match=r"-0.5 at index 2"):
        durations([0.0, 1.0, -0.5])


def test_a_table_is_no_sequence_of_floats():
    with pytest.raises(ValueError, match="one dimension"):
        finite([[1.0], [2.0]])


@pytest.mark.parametrize("bad", [0.0, 1.0, -1.0, math.nan])
def test_a_fraction_lies_between_0_and_1(bad):
    with pytest.raises(ValueError, match="confidence"):
        fraction(bad, "confidence")
