"""A precision is its row: there is none without, and its colour is its own."""

from __future__ import annotations

import pickle

import pytest

from bench.core.cell import Precision
from bench.core.precision import Arithmetic, first_of


def test_every_precision_has_a_row_and_a_colour_of_its_own() -> None:
    assert len({precision.row.color for precision in Precision}) == len(Precision)
    for precision in Precision:
        assert precision.row.casts_to is None or precision.row.autocasts_to is None


def test_every_arithmetic_but_fp8_has_a_precision_to_stand_for_it() -> None:
    assert [arithmetic for arithmetic in Arithmetic if first_of(arithmetic) is None] == [Arithmetic.FP8]
    assert first_of(Arithmetic.BF16) is Precision.BF16_AMP


def test_a_name_without_a_row_is_no_precision() -> None:
    with pytest.raises(ValueError, match="'fp8' is not a valid Precision"):
        Precision("fp8")


@pytest.mark.parametrize("precision", Precision)
def test_a_precision_travels_between_processes_as_itself(precision: Precision) -> None:
    assert Precision(precision.value) is precision
    assert pickle.loads(pickle.dumps(precision)) is precision
    assert f"{precision}" == precision.value == str(precision)


@pytest.mark.parametrize(
    ("precision", "weight", "activation"),
    [
        (Precision.FP32, 4, 4),
        (Precision.BF16_AMP, 4, 2),
        (Precision.FP16, 2, 2),
        (Precision.FP64, 8, 8),
    ],
)
def test_bytes_follow_from_the_types(precision: Precision, weight: int, activation: int) -> None:
    assert (precision.row.weight_bytes, precision.row.activation_bytes) == (weight, activation)
