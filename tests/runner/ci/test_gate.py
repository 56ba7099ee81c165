from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.cell import Cell
from bench.core.gate import CounterRow, GateVerdict
from bench.runner.ci.gate import changes, judge_rows


def make_row(
    batch_size: int = 8, dispatches: tuple[tuple[str, int], ...] = (("aten.mm.default", 3),), **counters: int | None
) -> CounterRow:
    cell = Cell(model="net", batch_size=batch_size)
    return CounterRow(suite="s", torch="2.15", cell=cell, counters=tuple(counters.items()), dispatches=dispatches)


@pytest.mark.parametrize(
    ("expected", "found", "verdict"),
    [
        ({"flops": 10, "bytes": 5}, {"flops": 10, "bytes": 5}, GateVerdict.SAME),
        ({"flops": 10, "bytes": 5}, {"flops": 11, "bytes": 5}, GateVerdict.MORE),
        ({"flops": 10, "bytes": 5}, {"flops": 9, "bytes": 5}, GateVerdict.LESS),
        ({"flops": 10, "bytes": 5}, {"flops": 9, "bytes": 6}, GateVerdict.MORE),
        ({"flops": 10}, {"flops": None}, GateVerdict.MORE),
        ({"flops": None}, {"flops": 10}, GateVerdict.LESS),
        ({"flops": 0}, {"flops": 1}, GateVerdict.MORE),
    ],
)
def test_more_fails_less_passes(expected, found, verdict) -> None:
    (row,) = judge_rows([make_row(**expected)], [make_row(**found)])
    assert row.verdict is verdict
    assert row.is_passing is (verdict in (GateVerdict.SAME, GateVerdict.LESS))


def test_an_operation_called_more_often_fails_although_the_sum_fell() -> None:
    before = make_row(dispatches=(("aten.add_.Tensor", 40), ("aten.mm.default", 3)), dispatch_count=43)
    after = make_row(dispatches=(("aten._foreach_add_.List", 1), ("aten.mm.default", 3)), dispatch_count=4)
    (row,) = judge_rows([before], [after])
    assert row.verdict is GateVerdict.MORE
    assert [(c.name, c.expected, c.found) for c in row.operations] == [
        ("aten._foreach_add_.List", 0, 1),
        ("aten.add_.Tensor", 40, 0),
    ]


def test_operations_that_only_fell_pass() -> None:
    (row,) = judge_rows([make_row(dispatches=(("a", 4), ("b", 1)))], [make_row(dispatches=(("a", 3),))])
    assert row.verdict is GateVerdict.LESS


def test_a_missing_and_an_extra_row_fail() -> None:
    rows = judge_rows([make_row(8), make_row(16)], [make_row(8), make_row(17)])
    assert [(row.verdict, row.cell.batch_size) for row in rows] == [
        (GateVerdict.SAME, 8),
        (GateVerdict.MISSING, 17),
        (GateVerdict.EXTRA, 16),
    ]
    assert [row.is_passing for row in rows] == [True, False, False]


def test_a_cell_that_could_not_be_counted_fails_with_its_reason() -> None:
    row = make_row(flops=None)
    (judged,) = judge_rows([make_row(flops=3)], [row], [(row, "it raised")])
    assert (judged.verdict, judged.reason, judged.is_passing) == (GateVerdict.UNCOUNTED, "it raised", False)


COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 5))


@given(COUNTS, COUNTS)
def test_changes_name_exactly_what_differs(before: dict[str, int], after: dict[str, int]) -> None:
    found = changes(tuple(before.items()), tuple(after.items()), absent=0)
    assert {c.name: (c.expected, c.found) for c in found} == {
        name: (before.get(name, 0), after.get(name, 0))
        for name in before.keys() | after.keys()
        if before.get(name, 0) != after.get(name, 0)
    }


@given(COUNTS, COUNTS)
def test_if_one_way_only_falls_the_other_way_only_grows(before: dict[str, int], after: dict[str, int]) -> None:
    one, other = make_row(dispatches=tuple(before.items())), make_row(dispatches=tuple(after.items()))
    (there,), (back,) = judge_rows([one], [other]), judge_rows([other], [one])
    if there.verdict is GateVerdict.LESS:
        assert back.verdict is GateVerdict.MORE
    assert (there.verdict is GateVerdict.SAME) == (back.verdict is GateVerdict.SAME)


def test_fractions_need_something_to_be_a_fraction_of() -> None:
    (change,) = changes((("x", 16),), (("x", 17),), absent=0)
    assert change.fraction == 0.0625
    assert replace(change, expected=0).fraction is None
    assert replace(change, found=None).fraction is None
