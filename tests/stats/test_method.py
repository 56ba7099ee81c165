"""The promise of DESIGN section 6 under simulated noise: AR(1) within processes, process effects, slot bias."""

import numpy as np
import pytest

from bench.core.comparison import ComparisonVerdict, Quad
from bench.stats.looks import extend, judge_suite, screen
from bench.stats.shift import session_shift
from bench.stats.signflip import joint_sign_flip_p, sign_flip_p

from .simulate import sessions, suite_sessions

pytestmark = pytest.mark.slow  # simulations

SLOWER = ComparisonVerdict.SLOWER


def alarms(rng, comparisons, **noise):
    return np.mean([sign_flip_p(d.tolist()) <= 0.05 for d in sessions(rng, comparisons, **noise)])


def test_unchanged_code_alarms_in_at_most_6_percent():
    assert alarms(np.random.default_rng(0), 4000) <= 0.06  # 3 of 64 patterns: 0.047, standard error 0.003


def test_fixed_roles_alarm_far_more():
    assert alarms(np.random.default_rng(0), 1000, random_roles=False) > 0.10


def test_one_pair_of_processes_would_alarm_far_more():
    # the quads of a single session, tested as if they were independent: the process effect is in all of them
    rng = np.random.default_rng(1)
    quads = rng.normal(0, 0.03, (1000, 1)) + rng.normal(0, 0.03, (1000, 8))
    assert np.mean([sign_flip_p(q.tolist()) <= 0.05 for q in quads]) > 0.17


@pytest.mark.parametrize(("slowdown", "least", "most"), [(0.02, 0.30, 0.65), (0.05, 0.85, 1.0), (0.10, 0.99, 1.0)])
def test_slowdowns_are_found_about_as_often_as_on_real_machines(slowdown, least, most):
    assert least <= alarms(np.random.default_rng(2), 1000, slowdown=slowdown) <= most  # FACTS: 0.49, 0.93 to 0.98, 1.00


def test_peeking_after_every_session_alarms_far_more():
    d = sessions(np.random.default_rng(3), 600, sessions=12)
    peeked = [any(sign_flip_p(x[:k].tolist()) <= 0.05 for k in range(5, 13)) for x in d]
    planned = [sign_flip_p(x.tolist()) <= 0.05 for x in d]
    assert np.mean(peeked) > 0.10
    assert np.mean(planned) <= 0.075  # standard error 0.009


def test_raw_visits_give_the_session_that_the_simulation_draws():
    rng = np.random.default_rng(4)
    y = rng.normal(0, 0.03, (8, 4))
    quads = [Quad(base=((np.exp(a),), (np.exp(d),)), head=((np.exp(b),), (np.exp(c),))) for a, b, c, d in y]
    assert session_shift(quads) == pytest.approx(np.median(y @ np.array([-0.5, 0.5, 0.5, -0.5])))


def suite_alarms(rng, benchmarks, repeats, test):
    return np.mean([any(test(suite_sessions(rng, benchmarks, 6))) for _ in range(repeats)])


def test_joint_flips_hold_a_suite_of_40_where_single_tests_do_not():
    joint = suite_alarms(np.random.default_rng(5), 40, 1200, lambda d: [p <= 0.05 for p in joint_sign_flip_p(d)])
    single = suite_alarms(
        np.random.default_rng(5), 40, 100, lambda d: [sign_flip_p(column) <= 0.05 for column in np.transpose(d)]
    )
    assert joint <= 0.065  # standard error 0.006
    assert single > 0.25


def compare(rng, benchmarks, slowdown=0.0, **noise):
    """One whole comparison of a suite in which only benchmark 0 is slower: screen, confirm, extend."""

    def measure(count, columns):
        rows = suite_sessions(rng, benchmarks, count, slowdown=slowdown, **noise)
        return [[row[j] for j in columns] for row in rows]

    screened = measure(6, range(benchmarks))
    chosen = screen(screened)
    confirmed = measure(8, chosen) if chosen else []
    left = [chosen[j] for j in extend(confirmed)]
    return judge_suite(screened, confirmed, measure(6, left) if left else [])


WILD = {"wild": 0.1, "wildness": 0.10}  # every tenth session is off by 10 %: seen on a shared machine


@pytest.mark.parametrize(
    ("benchmarks", "repeats", "noise"),
    [(1, 300, {}), (10, 250, {}), (40, 200, {}), (1, 300, WILD), (10, 150, WILD), (40, 100, WILD)],
)
def test_a_whole_comparison_hardly_ever_alarms(benchmarks, repeats, noise):
    rng = np.random.default_rng(6)
    alarms = [any(j.verdict is SLOWER for j in compare(rng, benchmarks, **noise)) for _ in range(repeats)]
    assert np.mean(alarms) <= 0.075


@pytest.mark.parametrize(
    ("benchmarks", "repeats", "noise", "least"),
    [(1, 200, {}, 0.95), (10, 80, {}, 0.92), (40, 40, {}, 0.9), (1, 200, WILD, 0.93), (10, 80, WILD, 0.8)],
)
def test_a_whole_comparison_finds_a_5_percent_slowdown(benchmarks, repeats, noise, least):
    rng = np.random.default_rng(7)
    found = [compare(rng, benchmarks, 0.05, **noise)[0].verdict is SLOWER for _ in range(repeats)]
    assert np.mean(found) >= least


def test_a_true_slowdown_of_the_tolerated_size_is_hardly_ever_called_same():
    rng = np.random.default_rng(8)
    same = [compare(rng, 1, 0.05)[0].verdict is ComparisonVerdict.SAME for _ in range(400)]
    assert np.mean(same) <= 0.05
