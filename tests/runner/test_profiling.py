from __future__ import annotations

from dataclasses import replace

import pytest

from bench.core.profile import OperatorCost
from bench.runner.profiling import diff_profiles
from tests.measure.profile.test_advice import HEALTHY, layer

BASE = replace(
    HEALTHY,
    steps_seconds=(0.99, 1.0, 1.01),
    layers=(layer("a", 0.5), layer("b", 0.3), layer("gone", 0.1), layer("(loss)", 0.1)),
    operators=(OperatorCost(name="aten::mm", calls=2, seconds=1.0, profiled_seconds=1.0),),
)
HEAD = replace(
    BASE,
    step_seconds=1.6,
    steps_seconds=(1.6,),
    layers=(layer("a", 0.48), layer("b", 0.82, flops=200), layer("new", 0.2), layer("(loss)", 0.1)),
    operators=(
        OperatorCost(name="aten::mm", calls=2, seconds=1.2, profiled_seconds=1.2),
        OperatorCost(name="aten::add", calls=1, seconds=0.4, profiled_seconds=0.4),
    ),
)


def test_rows_sum_to_the_change_and_the_largest_stands_first() -> None:
    diff = diff_profiles(BASE, HEAD)
    assert [row.name for row in diff.layers] == ["b", "new", "gone", "a", "(loss)"]
    for rows in (diff.layers, diff.operators):
        assert sum(row.seconds for row in rows) == pytest.approx(diff.seconds, rel=1e-12)
    assert diff.seconds == pytest.approx(0.6)
    assert diff.layers[0].flops == 100


def test_added_and_removed_layers_are_rows_without_a_side() -> None:
    rows = {row.name: row for row in diff_profiles(BASE, HEAD).layers}
    assert (rows["new"].before, rows["new"].after) == (None, 0.2)
    assert (rows["gone"].before, rows["gone"].after) == (0.1, None)


def test_the_spread_of_the_steps_is_the_noise() -> None:
    assert diff_profiles(BASE, HEAD).noise_seconds == pytest.approx((0.016 / 2 + 0.0) / 2)
    assert diff_profiles(BASE, BASE).seconds == 0


def test_what_makes_two_profiles_differ_besides_the_model_is_a_doubt() -> None:
    assert diff_profiles(BASE, HEAD).doubts == ()
    other = replace(HEAD, clock="device", stepbench="9", profiled_step_seconds=9.0)
    assert len(diff_profiles(BASE, other).doubts) == 3
