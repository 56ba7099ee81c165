"""Quantiles of a tail, their bounds, and limits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from bench.core.claim import LatencyVerdict, Limit
from bench.stats.tails import _binomial_cumulative, _ends, check_limit, tail

P99 = Limit(probability=0.99, seconds=2.0)


def shuffled(count: int, seed: int = 3) -> list[float]:
    """Return 1 .. count in random order."""
    values = np.arange(1.0, count + 1)
    np.random.default_rng(seed).shuffle(values)
    return values.tolist()


@pytest.mark.parametrize(("m", "p"), [(1, 0.5), (10, 0.95), (368, 0.99), (5000, 0.95), (100_000, 0.99), (3, 0.01)])
def test_the_binomial_distribution_is_scipys(m: int, p: float) -> None:
    assert np.allclose(_binomial_cumulative(m, p), binom.cdf(np.arange(m + 1), m, p), atol=1e-9)


@given(m=st.integers(1, 3000), p=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_ends_are_the_tightest_that_hold(m: int, p: float) -> None:
    low, high = _ends(m, p)
    assert low == 0 or binom.cdf(low - 1, m, p) <= 0.025
    assert binom.cdf(low, m, p) > 0.025
    if high is None:
        assert binom.sf(m - 1, m, p) > 0.025
    else:
        assert binom.sf(high - 1, m, p) <= 0.025
        assert high == 1 or binom.sf(high - 2, m, p) > 0.025


def test_two_sided_intervals_exist_from_the_known_numbers() -> None:
    assert [_ends(m, p)[1] is not None for m, p in ((6, 0.5), (71, 0.95), (72, 0.95), (367, 0.99), (368, 0.99))] == [
        True,
        False,
        True,
        False,
        True,
    ]


def test_too_few_values_give_a_bound_and_never_a_number() -> None:
    found = tail(shuffled(60), 0.99)
    assert found is not None
    assert (found.point, found.high, found.needed) == (None, None, 1000)
    assert found.low is not None
    assert found.low <= 60
    few = tail([1.0, 2.0], 0.99)
    assert few is not None
    assert (few.point, few.low, few.high) == (None, 2.0, None), "both lie above p99 in 1 of 10,000 cases"
    assert tail([], 0.99) is None


def test_enough_values_give_an_order_statistic_within_its_interval() -> None:
    found = tail(shuffled(2000), 0.99)
    assert found is not None
    assert found.n_effective == pytest.approx(2000, rel=0.1)
    assert found.low is not None
    assert found.high is not None
    assert found.point is not None
    assert found.low < 1980 <= found.point < found.high <= 2000
    assert found.point == pytest.approx(1981, abs=1.5)
    assert found.needed is None


def test_slow_steps_in_one_burst_are_one_event() -> None:
    found = tail([1.0] * 950 + [2.0] * 50, 0.96)
    assert found is not None
    assert found.high is None
    assert found.n_effective < 200
    assert found.needed is not None
    assert found.needed > 1000


def test_equal_values_and_ties_have_a_tail() -> None:
    found = tail([1.0] * 500, 0.95)
    assert found is not None
    assert (found.point, found.low) == (1.0, 1.0)
    assert found.high is None, "no value lies above the quantile, so nothing tells how such values come"


@pytest.mark.parametrize("bad", [[-1.0], [math.nan], [math.inf]])
def test_what_is_no_duration_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="seconds"):
        tail(bad, 0.5)
    with pytest.raises(ValueError, match="seconds"):
        check_limit("cell", bad, P99)


@pytest.mark.parametrize("probability", [0.0, 1.0, 1.5])
def test_a_probability_lies_between_0_and_1(probability: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        tail([1.0], probability)


NOISES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "independent": lambda rng, n: np.exp(0.1 * rng.standard_normal(n)),
    "lag-1 0.5": lambda rng, n: np.exp(0.1 * _ar(rng, n, 0.5)),
}


def _ar(rng: np.random.Generator, n: int, rho: float) -> np.ndarray:
    values = rng.standard_normal(n)
    for index in range(1, n):
        values[index] = rho * values[index - 1] + math.sqrt(1 - rho * rho) * values[index]
    return values


@pytest.mark.parametrize("noise", list(NOISES))
def test_intervals_cover_and_bounds_hold(noise: str) -> None:
    rng = np.random.default_rng(101)
    true = math.exp(0.1 * 2.3263478740408408)
    covered = given = held = bounded = 0
    for _ in range(150):
        found = tail(NOISES[noise](rng, 1500), 0.99)
        short = tail(NOISES[noise](rng, 200), 0.99)
        assert found is not None
        assert short is not None
        if found.high is not None and found.low is not None:
            given += 1
            covered += found.low <= true <= found.high
        if short.low is not None:
            bounded += 1
            held += short.low <= true
    assert given >= 120
    assert covered >= 0.9 * given
    assert bounded == 150
    assert held >= 0.95 * bounded


@pytest.mark.parametrize(
    ("over", "n", "verdict", "more"),
    [
        (0, 299, LatencyVerdict.PASS, None),
        (0, 298, LatencyVerdict.UNDECIDED, 1),
        (0, 99, LatencyVerdict.UNDECIDED, 200),
        (1, 473, LatencyVerdict.PASS, None),
        (1, 472, LatencyVerdict.UNDECIDED, 1),
        (40, 1000, LatencyVerdict.FAIL, None),
        (10, 1000, LatencyVerdict.UNDECIDED, None),
    ],
)
def test_a_limit_passes_fails_or_says_how_many_more(
    over: int, n: int, verdict: LatencyVerdict, more: int | None
) -> None:
    values = np.where(np.arange(n) % 2, 1.0, 1.01)  # whose correlation is not above 0
    values[np.linspace(n // 10, n - n // 10, over, dtype=int)] = 3.0
    found = check_limit("cell", values.tolist(), P99)
    assert (found.verdict, found.over, found.n) == (verdict, over, n)
    if more is not None:
        assert found.more == more


def test_a_limit_is_not_passed_wrongly() -> None:
    rng = np.random.default_rng(9)
    wrong = sum(
        check_limit("cell", (1 + 2 * (rng.random(400) < 0.0101)).tolist(), P99).verdict is LatencyVerdict.PASS
        for _ in range(200)
    )
    assert wrong <= 0.08 * 200


def test_no_step_at_all_needs_as_many_as_pass() -> None:
    found = check_limit("cell", [], P99)
    assert (found.verdict, found.n, found.over) == (LatencyVerdict.UNDECIDED, 0, 0)
    assert found.more is not None
    assert 299 <= found.more <= 303


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("p99=50ms", Limit(probability=0.99, seconds=0.05)),
        ("P99.9 <= 2s", Limit(probability=0.999, seconds=2.0)),
        ("p50=100us", Limit(probability=0.5, seconds=1e-4)),
    ],
)
def test_a_limit_is_read(text: str, limit: Limit) -> None:
    read = Limit.parse(text)
    assert (read.probability, read.seconds) == pytest.approx((limit.probability, limit.seconds))
    assert read.name.startswith("p")


@pytest.mark.parametrize(
    "text", ["", "p99", "99=50ms", "p0=1s", "p100=1s", "p99=50", "p99=-1s", "p99=0s", "px=1s", "p99=fast"]
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no limit; write for example p99=50ms"):
        Limit.parse(text)
