import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.comparison import Quad
from bench.stats.shift import mean_shift, quad_shift, session_shift, visit_level

from .simulate import repeatable

visit = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=30).map(tuple)
quads = st.lists(
    st.builds(lambda a, b, c, d: Quad(base=(a, d), head=(b, c)), visit, visit, visit, visit), min_size=1, max_size=5
)


def quad(base, head, **options):
    return Quad(base=tuple(map(tuple, base)), head=tuple(map(tuple, head)), **options)


def test_a_long_visit_on_the_hosts_clock_is_its_fastest_step():
    assert visit_level([3.0, 2.0, 4.0], use_minimum=True) == pytest.approx(math.log(2.0))
    assert visit_level([3.0, 2.0, 4.0], use_minimum=False) == pytest.approx(math.log(3.0))


def test_disturbed_steps_do_not_reach_a_long_visit():
    quiet, disturbed = [1.0] * 20, [1.0, *[1.7] * 19]
    assert session_shift([quad([quiet, quiet], [disturbed, disturbed])]) == 0.0


def test_a_device_clock_never_uses_the_minimum():
    base, boosted = [1.0] * 20, [0.5, *[1.1] * 19]
    shift = session_shift([quad([base, base], [boosted, boosted], clock="device")])
    assert shift == pytest.approx(math.log(1.1))


def test_no_minimum_is_held_against_a_median():
    long, short = [1.0, *[1.2] * 19], [1.1, *[1.2] * 18]
    assert session_shift([quad([long, long], [short, long])]) == pytest.approx(0.0)


def test_the_session_is_the_median_of_its_quads():
    ratios = [1.02, 1.03, 5.0]
    shift = session_shift([quad([[1.0], [1.0]], [[r], [r]]) for r in ratios])
    assert shift == pytest.approx(math.log(1.03))


def test_only_the_mean_sees_what_slows_down_some_steps():
    quiet, third = [1.0] * 30, [1.5, 1.0, 1.0] * 10
    quads = [quad([quiet, quiet], [third, third])] * 3
    assert session_shift(quads) == 0.0
    assert mean_shift(quads) == pytest.approx(math.log(35 / 30))


def test_the_mean_is_of_all_seconds_never_a_median_over_quads():
    quads = [quad([[1.0], [1.0]], [[r], [1.0]]) for r in (1.0, 1.0, 1.6)]
    assert mean_shift(quads) == pytest.approx(math.log(6.6 / 6))


@pytest.mark.parametrize("bad", [[], [quad([[]], [[1.0]])], [quad([[0.0]], [[1.0]])]])
def test_a_mean_of_nothing_is_refused(bad):
    with pytest.raises(ValueError, match="took time"):
        mean_shift(bad)


def test_a_steady_drift_cancels_in_a_quad():
    drift = [math.exp(0.1 * t) for t in range(4)]
    assert quad_shift(quad([[drift[0]], [drift[3]]], [[drift[1]], [drift[2]]]), use_minimum=False) == pytest.approx(0)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([], "without quads"),
        ([quad([], [[1.0]])], "both sides"),
        ([quad([[]], [[1.0]])], "took time"),
        ([quad([[0.0]], [[1.0]])], "took time"),
        ([quad([[math.nan]], [[1.0]])], "finite"),
        ([quad([[1.0]], [[1.0]]), quad([[1.0]], [[1.0]], clock="device")], "one clock"),
    ],
)
def test_sessions_that_make_no_sense_are_refused(bad, words):
    with pytest.raises(ValueError, match=words):
        session_shift(bad)


@repeatable
@given(quads)
def test_swapping_the_arms_turns_the_sign(session):
    swapped = [Quad(base=q.head, head=q.base) for q in session]
    assert session_shift(swapped) == pytest.approx(-session_shift(session), abs=1e-9)


@repeatable
@given(quads, st.floats(0.001, 1000))
def test_a_slower_machine_does_not_shift_a_session(session, scale):
    scaled = [
        Quad(
            base=tuple(tuple(scale * s for s in v) for v in q.base),
            head=tuple(tuple(scale * s for s in v) for v in q.head),
        )
        for q in session
    ]
    assert session_shift(scaled) == pytest.approx(session_shift(session), abs=1e-9)


@repeatable
@given(quads, st.floats(0.5, 2.0))
def test_a_slower_head_shifts_the_session_by_its_log(session, slowdown):
    slower = [Quad(base=q.base, head=tuple(tuple(slowdown * s for s in v) for v in q.head)) for q in session]
    assert session_shift(slower) == pytest.approx(session_shift(session) + np.log(slowdown), abs=1e-9)
