from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.peaks import Peak
from bench.core.precision import Arithmetic
from bench.stats.summary import Bound, model_flops_utilization, place

PEAK = Peak(arithmetic=Arithmetic.FP32, flops_per_second=1000.0, bytes_per_second=100.0, measured_at="2026-11-23")
counts = st.integers(1, 10**15)


def test_below_the_ridge_memory_is_the_limit() -> None:
    placement = place(500, 100, 1.0, PEAK)  # 5 FLOPs per byte; the ridge is at 10
    assert placement is not None
    assert (placement.intensity, placement.bound) == (5.0, Bound.MEMORY)
    assert placement.attainable_flops_per_second == 500.0
    assert placement.fraction == 1.0


def test_above_the_ridge_arithmetic_is_the_limit() -> None:
    placement = place(2000, 100, 4.0, PEAK)
    assert placement is not None
    assert (placement.bound, placement.attainable_flops_per_second) == (Bound.COMPUTE, 1000.0)
    assert (placement.flops_per_second, placement.fraction) == (500.0, 0.5)


@given(flops=counts, touched=counts)
def test_no_point_lies_above_either_roof(flops: int, touched: int) -> None:
    placement = place(flops, touched, None, PEAK)
    assert placement is not None
    assert placement.attainable_flops_per_second <= 1000.0
    assert placement.attainable_flops_per_second <= placement.intensity * 100.0 * (1 + 1e-12)
    assert (placement.bound is Bound.COMPUTE) == (placement.intensity >= 10.0)
    assert placement.fraction is None


@pytest.mark.parametrize(
    ("flops", "touched", "peak"),
    [
        (None, 1, PEAK),
        (0, 1, PEAK),
        (1, None, PEAK),
        (1, 0, PEAK),
        (1, 1, None),
        (1, 1, Peak(arithmetic=Arithmetic.FP32, bytes_per_second=1.0, measured_at="")),
        (1, 1, Peak(arithmetic=Arithmetic.FP32, flops_per_second=1.0, measured_at="")),
    ],
)
def test_what_is_unknown_is_not_placed(flops: int | None, touched: int | None, peak: Peak | None) -> None:
    assert place(flops, touched, 1.0, peak) is None


def test_mfu_is_a_share_of_the_peak_and_none_without_one() -> None:
    assert model_flops_utilization(250.0, 1000.0) == 0.25
    assert model_flops_utilization(None, 1000.0) is None
    assert model_flops_utilization(250.0, None) is None


def test_the_ridge_is_where_both_roofs_meet() -> None:
    assert PEAK.ridge == 10.0
