"""The verdict: properties that hold for every value, and the words beside it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bench.claims.check import Subject, check, check_counters, needed
from bench.core.claim import Claim, ClaimVerdict, Erratum
from bench.core.record import Counters, FlopCount, LayerCount

COUNTS = st.integers(1, 10**15)
SHAPES = st.lists(st.one_of(st.none(), st.integers(1, 10_000)), min_size=1, max_size=5).map(tuple)
VALUES = st.one_of(COUNTS, st.floats(1e-6, 1e15), SHAPES)
TOLERANCES = st.floats(0, 0.5)


def claimed(value: object, **more: object) -> Claim:
    return Claim(id="x", model="m", quantity="parameters", value=value, **more)  # type: ignore[arg-type]


@given(VALUES, TOLERANCES)
def test_the_documented_value_itself_matches(value: object, tolerance: float) -> None:
    assert check(claimed(value, tolerance=tolerance), value).verdict is ClaimVerdict.MATCH  # type: ignore[arg-type]


@given(VALUES, VALUES)
def test_without_tolerance_only_the_documented_value_matches(documented: object, measured: object) -> None:
    assume(documented != measured)
    checked = check(claimed(documented), measured)  # type: ignore[arg-type]
    assert checked.verdict is ClaimVerdict.MISMATCH
    assert checked.reason.startswith("documented ")


@given(COUNTS, TOLERANCES, st.floats(-1, 1))
def test_a_number_matches_exactly_within_its_tolerance(value: int, tolerance: float, offset: float) -> None:
    measured = value * (1 + offset)
    distance = abs(measured - value) / value
    assume(abs(distance - tolerance) > 1e-9)
    expected = ClaimVerdict.MATCH if distance < tolerance else ClaimVerdict.MISMATCH
    assert check(claimed(value, tolerance=tolerance), measured).verdict is expected


@given(COUNTS, COUNTS, TOLERANCES)
def test_a_wider_tolerance_never_turns_a_match_into_a_mismatch(value: int, measured: int, tolerance: float) -> None:
    if check(claimed(value, tolerance=tolerance), measured).verdict is ClaimVerdict.MATCH:
        assert check(claimed(value, tolerance=tolerance + 0.1), measured).verdict is ClaimVerdict.MATCH


@given(st.integers(2**53, 2**62))
def test_large_counts_that_differ_by_one_do_not_match(value: int) -> None:
    assert check(claimed(value), value + 1).verdict is ClaimVerdict.MISMATCH


@given(VALUES, st.booleans())
def test_what_was_not_measured_is_unmeasured_and_says_why(value: object, with_erratum: bool) -> None:
    erratum = Erratum(measured=3, reason="r") if with_erratum else None
    checked = check(claimed(value, erratum=erratum), None, "no such layer")
    assert (checked.verdict, checked.measured, checked.reason) == (ClaimVerdict.UNMEASURED, None, "no such layer")
    assert check(claimed(value), None).reason


@given(COUNTS, COUNTS, COUNTS)
def test_an_erratum_stands_only_while_its_own_value_is_measured(documented: int, on_record: int, measured: int) -> None:
    assume(documented != on_record)
    claim = claimed(documented, erratum=Erratum(measured=on_record, reason="the page slipped"))
    stands = check(claim, on_record)
    assert (stands.verdict, stands.reason) == (ClaimVerdict.ERRATUM, "the page slipped")
    assume(measured != on_record)
    assert check(claim, measured).verdict is ClaimVerdict.MISMATCH


def test_a_stale_erratum_is_a_mismatch_that_says_so() -> None:
    claim = claimed(3_221_504, erratum=Erratum(measured=18_874_880, reason="r"))
    checked = check(claim, 3_221_504)
    assert checked.verdict is ClaimVerdict.MISMATCH
    assert "stale" in checked.reason
    assert "remove" in checked.reason


def test_an_erratum_whose_measured_value_changed_shows_all_three_values() -> None:
    checked = check(claimed(3_221_504, erratum=Erratum(measured=18_874_880, reason="r")), 18_874_881)
    assert checked.reason == "documented 3,221,504, erratum says 18,874,880, measured 18,874,881"


def test_the_tolerance_of_a_document_does_not_loosen_its_erratum() -> None:
    claim = claimed(3_800, tolerance=0.01, erratum=Erratum(measured=4_089, reason="r"))
    assert check(claim, 4_090).verdict is ClaimVerdict.MISMATCH


@pytest.mark.parametrize("measured", [math.nan, math.inf, -896])
def test_a_value_that_cannot_be_is_a_mismatch(measured: float) -> None:
    assert check(claimed(896, tolerance=0.5), measured).verdict is ClaimVerdict.MISMATCH


def test_a_shape_is_not_a_number() -> None:
    assert check(claimed((4,)), 4).verdict is ClaimVerdict.MISMATCH
    assert check(claimed(4, tolerance=0.5), (4,)).verdict is ClaimVerdict.MISMATCH


def test_a_border_of_the_rounding_is_inside() -> None:
    claim = claimed(1_814_000_000, tolerance=500_000 / 1_814_000_000)
    assert check(claim, 1_814_500_000).verdict is ClaimVerdict.MATCH
    assert check(claim, 1_814_500_002).verdict is ClaimVerdict.MISMATCH


# From counters.

CONV = LayerCount(
    name="conv",
    type="Conv2d",
    parameters=896,
    output_shape=(8, 32, 48, 48),
    weight_shape=(32, 3, 3, 3),
    flops_forward=160,
)
FC = LayerCount(
    name="head.fc", type="Linear", parameters=110, trainable_parameters=110, weight_shape=(10, 10), flops_forward=80
)
COUNTED = Counters(
    parameters=1006,
    trainable_parameters=110,
    buffers=0,
    flops=FlopCount(forward=240),
    layers=(
        LayerCount(name="", type="Net", output_shape=(8, 10), flops_forward=0),
        CONV,
        LayerCount(name="head", type="Sequential", flops_forward=0),
        FC,
    ),
)


def read(quantity: str, layer: str | None = None, value: object = 1, batch_size: int = 8, **more: object) -> object:
    claim = claimed(value, layer=layer, **more)
    return check_counters(replace(claim, quantity=quantity), COUNTED, batch_size).measured


@pytest.mark.parametrize(
    ("quantity", "layer", "expected"),
    [
        ("parameters", None, 1006),
        ("trainable_parameters", None, 110),
        ("buffers", None, 0),
        ("flops_forward", None, 240 // 8),
        ("macs_forward", None, 240 // 16),
        ("output_elements", None, 10),
        ("parameters", "conv", 896),
        ("parameters", "head", 110),
        ("flops_forward", "head", 80 // 8),
        ("macs_forward", "conv", 160 // 16),
        ("kernel_weights", "conv", 27),
        ("output_elements", "conv", 32 * 48 * 48),
        ("input_features", "head.fc", 10),
        ("kernel_weights", "head", None),
        ("input_features", "conv", None),
        ("output_shape", "head", None),
        ("output_elements", "head", None),
        ("parameters", "hea", None),
    ],
)
def test_a_quantity_is_read_from_counters(quantity: str, layer: str | None, expected: object) -> None:
    measured = read(quantity, layer)
    assert (measured, type(measured)) == (expected, type(expected))


def test_the_batch_stands_as_none_where_the_document_says_batch() -> None:
    assert read("output_shape", "conv", (None, 32, 48, 48)) == (None, 32, 48, 48)
    assert read("output_shape", "conv", (8, 32, 48, 48)) == (8, 32, 48, 48)
    assert read("output_shape", "conv", (None, 32)) == (8, 32, 48, 48)


def test_a_size_that_is_not_the_batch_is_not_taken_for_it() -> None:
    assert read("output_shape", "conv", (None, 32, 48, 48), batch_size=4) == (8, 32, 48, 48)
    assert read("output_shape", "conv", (None, None, 48, 48)) == (None, 32, 48, 48)


def test_a_count_that_does_not_divide_by_the_batch_is_not_rounded() -> None:
    assert read("flops_forward", batch_size=7) == 240 / 7


@pytest.mark.parametrize(
    ("counters", "claim", "reason"),
    [
        (Counters(), claimed(1), "parameters were not counted"),
        (Counters(), claimed(1, layer="conv"), "no layer was counted"),
        (COUNTED, claimed(1, layer="convv"), "no layer 'convv'; did you mean 'conv'?"),
        (Counters(), replace(claimed(1), quantity="flops_forward"), "FLOPs were not counted"),
        (Counters(), replace(claimed((1,)), quantity="output_shape"), "output was not recorded"),
        (
            Counters(flops=FlopCount(forward=8, uncounted=(("my::op", 2),))),
            replace(claimed(1), quantity="macs_forward"),
            "lower bound of the FLOPs is known: no formula for my::op",
        ),
        (
            replace(COUNTED, flops=FlopCount(forward=8, uncounted=(("my::op", 2),))),
            replace(claimed(1, layer="conv"), quantity="flops_forward"),
            "no formula for my::op",
        ),
        (
            COUNTED,
            replace(claimed(1, layer="head"), quantity="kernel_weights"),
            "no weight of the Sequential was recorded",
        ),
        (COUNTED, replace(claimed(1, layer="conv"), quantity="input_features"), "a Conv2d is not a linear layer"),
        (COUNTED, claimed(1, relative_to="lstm"), "lstm was not counted"),
    ],
)
def test_what_cannot_be_read_is_unmeasured_with_its_reason(counters: Counters, claim: Claim, reason: str) -> None:
    checked = check_counters(claim, counters, 8)
    assert checked.verdict is ClaimVerdict.UNMEASURED
    assert reason in checked.reason


def test_flops_of_a_layer_with_an_uncounted_part_are_unmeasured() -> None:
    counters = replace(COUNTED, layers=(*COUNTED.layers[:3], replace(FC, flops_forward=None)))
    assert check_counters(replace(claimed(1, layer="head"), quantity="flops_forward"), counters, 8).measured is None


@given(st.integers(1, 10**9), st.integers(1, 64))
def test_three_quarters_are_exact(gate: int, batch_size: int) -> None:
    def of(gates: int) -> Counters:
        return Counters(
            layers=(LayerCount(name="r", type="R", parameters=gates * gate, flops_forward=2 * gates * gate),)
        )

    for quantity in ("parameters", "flops_forward", "macs_forward"):
        claim = replace(claimed(0.75, layer="r", relative_to="lstm"), quantity=quantity)
        assert check_counters(claim, of(3), batch_size, of(4)).verdict is ClaimVerdict.MATCH


def test_a_relative_claim_compares_with_the_layer_it_names() -> None:
    claim = claimed(896 / 110, layer="conv", relative_to="m", relative_layer="head.fc")
    assert check_counters(claim, COUNTED, 8, COUNTED).measured == 896 / 110


def test_a_ratio_to_nothing_is_unmeasured() -> None:
    claim = claimed(1, layer="conv", relative_to="m", relative_layer="head")
    empty = replace(COUNTED, layers=(CONV, LayerCount(name="head", type="Sequential")))
    checked = check_counters(claim, empty, 8, empty)
    assert (checked.verdict, checked.reason) == (ClaimVerdict.UNMEASURED, "m: parameters is 0")


def test_needed_lists_each_subject_once_with_what_to_count() -> None:
    claims = [
        claimed(1, layer="a"),
        claimed(1, layer="b"),
        claimed(1, input_shape=(3, 384, 384)),
        claimed(0.75, layer="a", relative_to="lstm", relative_layer="z"),
    ]
    assert needed(claims) == {
        Subject(model="m"): {("a", "parameters"), ("b", "parameters")},
        Subject(model="m", input_shape=(3, 384, 384)): {(None, "parameters")},
        Subject(model="lstm"): {("z", "parameters")},
    }
    assert needed([]) == {}
