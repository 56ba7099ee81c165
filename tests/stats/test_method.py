"""The promise of DESIGN section 6 under simulated noise: AR(1) within processes, process effects, slot bias."""

import numpy as np
import pytest

from bench.core.comparison import Quad
from bench.stats.looks import SAME, SLOWER, Plan, look
from bench.stats.shift import session_shift
from bench.stats.signflip import sign_flip_p

from .simulate import sessions, suite_sessions

pytestmark = pytest.mark.slow  # simulations


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


def compare(rng, comparisons, cells, slowdown=0.0, **noise):
    """Whole comparisons of suites in which only the first cell is slower; both columns."""
    rows = [suite_sessions(rng, cells, 14, slowdown=slowdown, **noise) for _ in range(comparisons)]
    first = np.array(rows).transpose(0, 2, 1)
    mean = first + rng.normal(0, 0.02, first.shape)
    found = look(np.stack([first, mean], axis=-1).reshape(-1, 14, 2), Plan(cells=cells, most=14))
    return found.verdict.reshape(comparisons, cells)


WILD = {"wild": 0.1, "wildness": 0.10}  # every tenth session is off by 10 %: seen on a shared machine


@pytest.mark.parametrize(("cells", "noise"), [(1, {}), (10, {}), (1, WILD), (10, WILD)])
def test_a_whole_comparison_hardly_ever_alarms(cells, noise):
    verdicts = compare(np.random.default_rng(6), 600 // cells, cells, **noise)
    assert (verdicts == SLOWER).any(axis=1).mean() <= 0.075


@pytest.mark.parametrize(("cells", "noise", "least"), [(1, {}, 0.93), (10, {}, 0.88), (1, WILD, 0.85), (10, WILD, 0.7)])
def test_a_whole_comparison_finds_a_5_percent_slowdown(cells, noise, least):
    verdicts = compare(np.random.default_rng(7), 100, cells, 0.05, **noise)
    assert (verdicts[:, 0] == SLOWER).mean() >= least


def test_a_true_slowdown_of_the_tolerated_size_is_hardly_ever_called_same():
    assert (compare(np.random.default_rng(8), 600, 1, 0.05) == SAME).mean() <= 0.05
