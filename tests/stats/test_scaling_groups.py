"""Groups of cells that differ in one size."""

from dataclasses import replace

import pytest

from bench.core.cell import Mode
from bench.core.record import Counters, FlopCount, Outcome
from bench.stats.scaling import BATCH, scalings
from tests.records import make_record


def batches(seconds, model="my_net", **more):
    return [make_record(model, size, step=value, **more) for size, value in seconds.items()]


def options(axis, seconds, name="mlp", flops=None):
    records = []
    for size, value in seconds.items():
        counters = Counters(flops=FlopCount(forward=flops(size), backward=0)) if flops else Counters()
        records.append(make_record(f"{name}@width=64,{axis}={size}", step=value, counters=counters))
    return records


def test_a_sweep_of_the_batch_gives_overhead_and_cost_of_an_example():
    (found,) = scalings(batches({size: 0.004 + 0.0005 * size for size in (16, 1, 4, 64)}))
    assert (found.group, found.axis, found.sizes) == ("my_net/train/b*/cpu/fp32", BATCH, (1, 4, 16, 64))
    assert found.overhead_seconds.point == pytest.approx(0.004, rel=0.05)
    assert found.example_seconds.point == pytest.approx(0.0005, rel=0.05)
    assert found.batch_of_90_percent.point == pytest.approx(72, rel=0.1)
    assert found.follows and found.reason is None and found.exponent is None


def test_a_sweep_of_an_option_gives_the_exponent_beside_that_of_the_flops():
    (found,) = scalings(options("depth", {2: 0.002, 4: 0.004, 8: 0.008}, flops=lambda size: 1000 * size**2))
    assert (found.group, found.axis) == ("mlp@width=64,depth=*/train/b8/cpu/fp32", "depth")
    assert found.exponent.point == pytest.approx(1.0, abs=0.02)
    assert found.flops_exponent == pytest.approx(2.0)
    assert found.overhead_seconds is None and found.batch_of_90_percent is None


def test_flops_that_are_unknown_somewhere_have_no_exponent():
    records = options("depth", {2: 0.002, 4: 0.004, 8: 0.008}, flops=lambda size: size)
    records[1] = replace(records[1], counters=Counters())
    assert scalings(records)[0].flops_exponent is None


def test_nothing_is_fitted_where_no_group_has_three_sizes():
    assert scalings([]) == ()
    assert scalings(batches({2: 0.01, 8: 0.02})) == ()


def test_a_group_of_two_beside_a_group_of_three_says_what_it_lacks():
    rows = batches({1: 0.01, 2: 0.02, 4: 0.04}) + batches({1: 0.01, 2: 0.02}, "mlp")
    full, short = scalings(rows)
    assert full.example_seconds is not None
    assert short.example_seconds is None
    assert short.reason == "2 sizes were measured; a fit needs 3"


def test_cells_that_differ_in_anything_else_are_groups_of_their_own():
    rows = batches({1: 0.01, 2: 0.02, 4: 0.04}) + batches({1: 0.003, 2: 0.006, 4: 0.012}, mode=Mode.INFER)
    assert [one.group for one in scalings(rows)] == ["my_net/train/b*/cpu/fp32", "my_net/infer/b*/cpu/fp32"]


def test_a_cell_that_failed_is_left_out_and_may_end_the_fit():
    rows = batches({1: 0.01, 2: 0.02, 4: 0.04})
    rows[2] = make_record(batch_size=4, step=None, outcome=Outcome.OUT_OF_MEMORY, reason="too large")
    (found,) = scalings(rows)
    assert found.sizes == (1, 2)
    assert found.example_seconds is None and "2 sizes were measured" in found.reason


def test_a_machine_that_saturates_gets_no_batch_of_90_percent_and_says_so():
    (found,) = scalings(batches({size: 0.001 * max(8, size) for size in (1, 2, 4, 8, 16, 32)}))
    assert found.batch_of_90_percent is None
    assert found.follows is False
    assert found.reason.startswith("the times follow no line: one is ")
    assert found.overhead_seconds is not None  # shown, with its doubt beside it


def test_no_overhead_is_said_and_not_made_up():
    (found,) = scalings(batches({size: 0.001 * size - 0.0002 for size in (1, 2, 4)}))
    assert found.batch_of_90_percent is None
    assert "no overhead was seen" in found.reason


def test_two_options_that_both_vary_are_two_axes():
    rows = [make_record(f"mlp@depth={d},width={w}", step=0.001 * d * w) for d in (2, 4, 8) for w in (8, 16, 32)]
    found = scalings(rows)
    assert sorted({one.axis for one in found}) == ["depth", "width"]
    assert len(found) == 6


def test_options_that_are_no_sizes_and_paths_with_an_at_are_left_alone():
    rows = [make_record(f"dir@v1/net.py:make@activation={name}", step=0.001) for name in ("relu", "tanh", "gelu")]
    assert scalings(rows) == ()


def test_noise_that_hides_any_misfit_is_said():
    times = {1: 0.010, 2: 0.030, 4: 0.038}
    (found,) = scalings([make_record("m", size, step=step, noise=0.9, n=8) for size, step in times.items()])
    assert found.misfit > 0.1 and found.follows
    assert "which its own noise allows" in found.reason
