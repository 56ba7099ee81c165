import math

import pytest
from scipy import stats

from bench.stats.distributions import median_rank, student_t_probability, student_t_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 7, 10, 29, 100])
def test_student_t_agrees_with_scipy(freedom):
    for t in (-12.0, -2.1, -0.3, 0.0, 0.7, 1.96, 4.3, 63.0):
        assert student_t_probability(t, freedom) == pytest.approx(stats.t.cdf(t, freedom), abs=1e-12)
    for p in (0.01, 0.2, 0.5, 0.8, 0.95, 0.975, 0.995):
        assert student_t_quantile(p, freedom) == pytest.approx(stats.t.ppf(p, freedom), rel=1e-9, abs=1e-12)


def test_student_t_without_freedom_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        student_t_probability(1.0, 0)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [*range(1, 40), 100, 999, 1000])
def test_median_rank_is_the_largest_that_covers(n, confidence):
    def coverage(rank):
        return 1 - 2 * stats.binom.cdf(rank - 1, n, 0.5)

    rank = median_rank(n, confidence)
    if rank is None:
        assert coverage(1) < confidence
    else:
        assert coverage(rank) >= confidence - 1e-9
        assert rank > n / 2 - 1 or coverage(rank + 1) < confidence


def test_six_values_are_the_fewest_with_a_95_percent_interval():
    assert median_rank(5, 0.95) is None
    assert median_rank(6, 0.95) == 1


@pytest.mark.parametrize("n", [1001, 1500, 5000, 10_000])
def test_normal_approximation_of_the_rank_is_within_one(n):
    exact = stats.binom.ppf(0.025, n, 0.5)
    assert math.isclose(median_rank(n, 0.95), exact, abs_tol=1)
