from __future__ import annotations

from dataclasses import replace

import pytest

from bench.core.record import Counters, FlopCount, LayerCount, Opinion, Record
from bench.tables.figures import display_width
from bench.tables.parts import counts_document, layers_document, opinions_document
from tests.goldens import check_golden
from tests.pages import on_page
from tests.records import make_counters, make_record

OURS = FlopCount(
    forward=279_171_563_520,
    backward=558_000_000_000,
    executed_forward=279_171_563_520,
    executed_backward=600_000_000_000,
    uncounted=(("mylib.fancy.default", 2), ("mylib.other.default", 1)),
    method="formulas of dispatched operations on meta tensors",
)
OPINIONS = (
    Opinion(counter="torch", forward_flops=279_171_563_520, backward_flops=557_999_999_999, note="backward x 1: why"),
    Opinion(counter="fvcore", forward_flops=267_726_323_712, note="it passes over attention x12"),
    Opinion(counter="other", note="could not count: KeyError: 'layer'"),
    Opinion(counter="closed-form", forward_flops=279_171_563_520),
)


def explained(flops: FlopCount = OURS, opinions: tuple[Opinion, ...] = OPINIONS) -> Record:
    return make_record(counters=replace(make_counters(), flops=flops, opinions=opinions))


def test_opinions_look_as_they_did() -> None:
    check_golden("opinions-80.txt", on_page(opinions_document(explained())) + "\n")


@pytest.mark.parametrize("width", [70, 80, 200])
def test_opinions_stay_on_the_page(width: int) -> None:
    lines = on_page(opinions_document(explained()), width).splitlines()
    assert max(map(display_width, lines)) <= width


def test_a_difference_of_one_operation_is_never_called_equal() -> None:
    flops = FlopCount(forward=10**12, method="m")
    text = on_page(opinions_document(explained(flops, (Opinion(counter="torch", forward_flops=10**12 - 1),))))
    row = next(line for line in text.splitlines() if line.startswith("torch"))
    assert row.split()[-1] == "1-1e-12"
    assert "torch: differs, and no cause was found" in text


def test_what_could_not_be_counted_stands_as_a_dash_with_its_reason() -> None:
    text = on_page(opinions_document(explained()))
    row = next(line for line in text.splitlines() if line.startswith("other "))
    assert row.split() == ["other", "-", "-"]
    assert "KeyError: 'layer'" in text


def test_no_flops_at_all_is_said() -> None:
    assert "no FLOPs were counted" in on_page(opinions_document(make_record(counters=Counters(parameters=3))))


def test_counts_name_uncounted_operations_and_leave_the_rest_to_explain() -> None:
    text = " ".join(on_page(counts_document([explained()])).split())
    assert "at least 279,171,563,520 FLOPs forward and 558,000,000,000 backward; 3 operations uncounted:" in text
    assert "mylib.fancy.default (2), mylib.other.default (1)" in text
    assert "passes over attention" not in text


def test_a_layers_intensity_is_forward_flops_per_byte_touched() -> None:
    layer = LayerCount(name="a", type="Linear", flops_forward=3000, flops_backward=1, bytes_touched=400)
    text = on_page(layers_document(make_record(counters=replace(make_counters(), layers=(layer,)))), 200)
    header, figures = text.splitlines()[1], text.splitlines()[3]
    assert header.split()[-1] == "/byte"
    assert figures.split()[-1] == "7.50"
