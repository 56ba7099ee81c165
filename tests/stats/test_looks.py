from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from bench.stats.looks import FASTER, SAME, SLOWER, UNDECIDED, Plan, Threshold, look
from bench.stats.shift import hodges_lehmann

LEAST, TOLERATED = math.log1p(0.02), math.log1p(0.05)
A = {5: 0.0, 6: 0.02, 8: 0.03, 10: 0.035, 14: 0.042, 18: 0.05}
A_SAME = {5: 0.032, 6: 0.032, 8: 0.036, 10: 0.040, 14: 0.043, 18: 0.045}


def clipped(values):
    limit = 1.5 * sorted(map(abs, values))[len(values) // 2] if len(values) % 2 else None
    if limit is None:
        middle = sorted(map(abs, values))[len(values) // 2 - 1 : len(values) // 2 + 1]
        limit = 1.5 * sum(middle) / 2
    return [max(-limit, min(limit, v)) for v in values] if limit else list(values)


def statistics(columns, signs):
    """The larger of the columns' sums, each over its root mean square: written down again, pattern by pattern."""
    found = []
    for column in columns:
        c = clipped(column[: len(signs)])
        rms = math.sqrt(math.fsum(v * v for v in c) / len(c))
        found.append(math.fsum(s * v for s, v in zip(signs, c, strict=True)) / rms if rms else 0.0)
    return found


def sequential(columns, levels):
    """Reject patterns look by look: return, per look, how many each column needs, and what is allowed."""
    spent: set[tuple[int, ...]] = set()
    answers = []
    previous = 0
    for sessions, level in levels.items():
        if sessions > len(columns[0]):
            break
        patterns = list(itertools.product((1, -1), repeat=sessions))
        value = {s: max(statistics(columns, s)) for s in patterns}
        spent = {s for s in patterns if s[:previous] in spent} if previous else set()
        open_ = [s for s in patterns if s not in spent]
        most = math.floor(2**sessions * level + 1e-9)
        observed = statistics(columns, (1,) * sessions)
        needed = [len(spent) + sum(value[s] >= one - 1e-9 for s in open_) for one in observed]
        answers.append((sessions, needed, most))
        spent |= {s for s in open_ if len(spent) + sum(value[t] >= value[s] - 1e-9 for t in open_) <= most}
        previous = sessions
    return answers


@pytest.mark.parametrize("seed", range(40))
def test_the_looks_agree_with_a_count_of_every_pattern(seed):
    rng = np.random.default_rng(seed)
    cells = int(rng.integers(1, 4))
    scale = float(rng.choice([0.01, 0.03, 0.1]))
    data = rng.standard_normal((8, 2)) * scale + rng.choice([0.0, 0.03, 0.1]) * rng.integers(0, 2, 2)
    if seed % 4 == 0:
        data = np.round(data, 2)  # ties and zeros
    found = look(data[None], Plan(cells=cells))
    columns = data.T.tolist()
    up = sequential(columns, {k: a / cells for k, a in A.items()})
    down = sequential((-data).T.tolist(), {k: a / cells for k, a in A.items()})
    same = [sequential([[TOLERATED - v for v in column]], A_SAME) for column in columns]
    stopped = int(found.sessions[0])
    for tests, p in ((up, found.p_slower), (down, found.p_faster)):
        for column in range(2):
            values = [cells * n[column] / 2**k / (A[k] / 0.05) for k, n, _ in tests if A[k] and k <= stopped]
            assert p[0, column] == pytest.approx(min(values, default=math.inf))
    shown = [[any(n[0] <= most for k, n, most in test if k <= stopped)] for test in same]
    if found.verdict[0] == SAME:
        assert all(one == [True] for one in shown)
    if found.verdict[0] == SLOWER:
        column = found.column[0]
        assert any(n[column] <= most for k, n, most in up if k <= stopped)
        assert hodges_lehmann(columns[column][:stopped]) >= LEAST
    if found.verdict[0] == FASTER:
        assert any(n[found.column[0]] <= most for k, n, most in down if k <= stopped)
    if found.verdict[0] == UNDECIDED:
        assert not any(n[c] <= most and hodges_lehmann(columns[c]) >= LEAST for _, n, most in up[-1:] for c in (0, 1))


def test_all_verdicts_occur_among_the_compared_ones():
    rng = np.random.default_rng(0)
    data = rng.standard_normal((60, 8, 2)) * 0.02 + rng.choice([-0.1, 0.0, 0.03, 0.1], (60, 1, 1))
    assert set(look(data, Plan()).verdict) == {SLOWER, FASTER, SAME, UNDECIDED}


def steady(shift, sessions=8, spread=0.002, mean=None):
    rng = np.random.default_rng(1)
    noise = spread * rng.standard_normal((1, sessions, 2))
    return noise + np.array([shift, shift if mean is None else mean])


def test_unchanged_code_is_same_after_five_sessions():
    found = look(steady(0.0), Plan())
    assert found.verdict[0] == SAME
    assert found.sessions[0] == 5


def test_a_slowdown_of_every_step_is_slower_after_six():
    found = look(steady(0.05), Plan())
    assert (found.verdict[0], found.column[0], found.sessions[0]) == (SLOWER, 0, 6)
    assert found.p_slower[0, 0] == pytest.approx(1 / 64 / 0.4)


def test_a_slowdown_of_some_steps_is_slower_on_average():
    found = look(steady(0.0, mean=0.05), Plan())
    assert (found.verdict[0], found.column[0], found.sessions[0]) == (SLOWER, 1, 6)


def test_same_needs_both_columns():
    found = look(steady(0.0, sessions=5, mean=0.06), Plan())
    assert found.verdict[0] == UNDECIDED


def test_faster_is_the_mirror_image_of_slower():
    rng = np.random.default_rng(2)
    data = rng.standard_normal((200, 18, 2)) * 0.03 + 0.02
    plan = Plan(threshold=Threshold(tolerate=1e6))  # else SAME, which looks one way, takes some of them
    up, down = look(data[:20, :14], plan), look(-data[:20, :14], plan)
    assert np.array_equal(up.p_slower, down.p_faster)


def test_what_is_slower_on_average_is_not_called_faster():
    found = look(steady(-0.1, mean=0.1), Plan())
    assert found.verdict[0] == SLOWER
    found = look(steady(-0.1, sessions=6, mean=0.03, spread=0.01), Plan(cells=3))
    assert found.verdict[0] != FASTER


def test_a_suspect_is_not_same_before_eleven_sessions():
    data = np.full((1, 10, 2), 0.012) + 1e-5 * np.arange(20).reshape(1, 10, 2)
    assert look(data, Plan()).verdict[0] == UNDECIDED
    assert look(np.tile(data, (1, 2, 1)), Plan()).verdict[0] == SAME


def test_a_shift_below_fail_at_is_never_slower():
    data = np.full((1, 18, 2), 0.015) + 1e-5 * np.arange(36).reshape(1, 18, 2)
    found = look(data, Plan())
    assert found.p_slower.min() <= 0.05
    assert found.verdict[0] == SAME


@pytest.mark.parametrize(("cells", "sessions"), [(1, 6), (2, 8), (7, 8), (8, 10), (35, 10), (36, 14), (688, 14)])
def test_a_suites_first_alarm_needs_the_sessions_of_its_level(cells, sessions):
    assert Plan(cells=cells).sessions_needed == sessions


@pytest.mark.parametrize(("alpha", "needed"), [(0.05, 6), (0.01, 8), (0.001, 14), (1e-5, 18), (1e-6, None)])
def test_any_alpha_works_or_is_known_not_to(alpha, needed):
    plan = Plan(threshold=Threshold(alpha=alpha))
    assert plan.sessions_needed == needed
    found = look(steady(0.3, sessions=18), plan)
    assert bool(found.verdict[0] == SLOWER) is (needed is not None)


@pytest.mark.parametrize("most", [5, 6, 7, 12, 18])
def test_the_last_look_spends_all_that_is_left(most):
    plan = Plan(most=most)
    assert plan.looks[-1] == most
    assert plan.share(most) == 1.0
    assert list(plan.looks) == sorted(set(plan.looks))
    assert look(steady(0.1, sessions=18), plan).verdict[0] == SLOWER


def test_rows_do_not_touch_each_other():
    rng = np.random.default_rng(3)
    data = rng.standard_normal((300, 14, 2)) * 0.03
    whole = look(data, Plan())
    for row in range(0, 300, 30):
        one = look(data[[row]], Plan())
        assert one.verdict[0] == whole.verdict[row]
        assert one.p_slower[0] == pytest.approx(whole.p_slower[row])


@pytest.mark.slow
@pytest.mark.parametrize("cells", [1, 5])
def test_unchanged_suites_alarm_at_most_as_often_as_promised(cells):
    rng = np.random.default_rng(4)
    shared, own = 0.07 * rng.standard_normal((2000, 1, 14, 2)), 0.07 * rng.standard_normal((2000, cells, 14, 2))
    found = look((shared + own).reshape(-1, 14, 2), Plan(cells=cells))
    for verdict in (SLOWER, FASTER):
        share = (found.verdict.reshape(2000, cells) == verdict).any(axis=1).mean()
        assert share <= 0.062  # 0.042 are spent by the look at 14; 0.05 + 2.5 standard errors


@pytest.mark.slow
def test_a_slowdown_of_what_is_tolerated_is_hardly_ever_same():
    rng = np.random.default_rng(5)
    data = 0.03 * rng.standard_normal((3000, 14, 2)) + np.array([TOLERATED, 0.0])
    assert (look(data, Plan()).verdict == SAME).mean() <= 0.053  # 0.043 by then, and 2.5 standard errors
