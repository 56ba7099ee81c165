from __future__ import annotations

import dataclasses

import pytest

from bench.core.profile import OperatorCost, PhaseCost, ProfiledLayer
from bench.core.record import Phase
from bench.report.html.contract import make_data
from bench.report.html.page import render
from bench.tables.figures import display_width
from bench.tables.fold import Group, fold
from bench.tables.profile import (
    MARK,
    are_doubtful,
    doubt_lines,
    layer_columns,
    marked,
    operator_columns,
    profile_document,
)
from bench.tables.table import Column
from tests.pages import on_page
from tests.report.profiles import GPU, PROFILE
from tests.stored_runs import make_run

EXPLAINED = "the figure is uncertain"


def layer(name: str, forward: tuple[float, float], backward: tuple[float, float]) -> ProfiledLayer:
    """A layer from what is left and what was seen in each phase."""
    costs = tuple(
        PhaseCost(phase=phase, seconds=seconds, profiled_seconds=seen, flops=1000)
        for phase, (seconds, seen) in ((Phase.FORWARD, forward), (Phase.BACKWARD, backward))
    )
    return ProfiledLayer(name=name, type="Linear", calls=1, costs=costs)


SURE = layer("sure", (30e-6, 40e-6), (40e-6, 50e-6))
HALF_SURE = layer("half_sure", (18e-6, 20e-6), (4e-6, 9e-6))
DOUBTFUL = layer("doubtful", (4e-6, 10e-6), (4e-6, 10e-6))
SMALL = dataclasses.replace(
    PROFILE,
    layers=(SURE, HALF_SURE, DOUBTFUL),
    step_seconds=100e-6,
    profiled_step_seconds=139e-6,
    operators=(
        OperatorCost(name="aten::mm", calls=2, seconds=96e-6, profiled_seconds=100e-6),
        OperatorCost(name="aten::t", calls=8, seconds=4e-6, profiled_seconds=39e-6),
    ),
)


def cells(columns: list[Column], name: str) -> tuple[str, ...]:
    (found,) = (column.cells for column in columns if column.heading.startswith(name))
    return found


def test_figures_that_are_mostly_correction_are_marked_and_still_stand() -> None:
    columns = layer_columns(SMALL, fold(SMALL.layers))
    assert cells(columns, "time") == ("70.0", "22.0", "~8.00", "100")
    assert cells(columns, "step %") == ("70", "22", "~8", "100")
    assert cells(columns, "fwd") == ("30.0", "18.0", "~4.00", "52.0")
    assert cells(columns, "bwd") == ("40.0", "~4.00", "~4.00", "48.0")
    columns = operator_columns(SMALL)
    assert cells(columns, "self") == ("96.0", "~4.00", "100")
    assert cells(columns, "step %") == ("96", "~4", "100")


def test_a_folded_row_is_marked_by_its_sum() -> None:
    twins = [dataclasses.replace(one, name=f"a.{one.name}") for one in (SURE, DOUBTFUL)]
    group = Group(label="a (2 layers)", layers=tuple(twins))
    assert cells(layer_columns(SMALL, [group]), "time")[0] == "78.0"
    assert cells(layer_columns(SMALL, [Group(label="b", layers=(DOUBTFUL, DOUBTFUL))]), "time")[0] == "~16.0"


def test_the_mark_is_explained_once_where_it_stands_and_only_there() -> None:
    assert " ".join(on_page(profile_document(SMALL)).split()).count(EXPLAINED) == 1
    assert EXPLAINED not in " ".join(on_page(profile_document(PROFILE)).split())
    for profile, times in ((SMALL, 1), (PROFILE, 0)):
        page = render(make_data([make_run(id="r", profiles=(profile,))]))
        assert page.count(EXPLAINED) == times


def test_a_name_that_begins_like_the_mark_needs_no_explanation() -> None:
    assert not doubt_lines([Column(name="operation", cells=(f"{MARK}mine",), right=False, key=True)])


def test_what_was_not_measured_stays_so() -> None:
    (column,) = marked([Column(name="fwd", unit="ms", cells=("-", "1.00", "1.00"))], [True, True, False])
    assert column.cells == ("-", "~1.00", "1.00")


def test_the_idle_row_is_sure_however_much_it_gave_way() -> None:
    row = dataclasses.replace(GPU.operators[1], seconds=0.001, profiled_seconds=0.009)
    assert not are_doubtful([row])
    assert are_doubtful([dataclasses.replace(row, name="aten::mm")])


@pytest.mark.parametrize("width", [60, 80])
def test_marked_tables_fit(width: int) -> None:
    assert max(map(display_width, on_page(profile_document(SMALL), width).splitlines())) <= width
