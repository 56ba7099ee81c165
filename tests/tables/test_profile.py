from __future__ import annotations

import dataclasses

import pytest

from bench.core.profile import MEANINGS, PhaseCost, Profile, ProfiledLayer
from bench.core.record import Phase
from bench.report.html.contract import make_data
from bench.report.html.groups import phase_colors
from bench.report.html.page import render
from bench.report.html.sections.profile import NARROWEST, SECTION, flame, flame_boxes
from bench.tables.figures import display_width
from bench.tables.fold import LIMIT, Group, fold
from bench.tables.profile import layer_columns, profile_document
from tests.goldens import check_golden
from tests.pages import on_page
from tests.report.profiles import GPU, LAYERS, PROFILE, STEP
from tests.stored_runs import make_run


def test_profiles_look_as_they_did() -> None:
    reports = [
        on_page(profile_document(PROFILE)),
        on_page(profile_document(GPU)),
        on_page(profile_document(GPU), unicode=False),
    ]
    check_golden("profiles.txt", "\n\n\n".join(reports) + "\n")


@pytest.mark.parametrize("width", [60, 80, 140])
def test_no_line_is_wider_than_its_page_and_nothing_commands_the_terminal(width: int) -> None:
    for profile in (PROFILE, GPU):
        text = on_page(profile_document(profile), width)
        assert max(map(display_width, text.splitlines())) <= width
        assert "\x1b" not in text


def test_folded_rows_still_sum_to_the_step() -> None:
    groups = fold(LAYERS)
    assert sum(group.seconds for group in groups) == pytest.approx(STEP)
    assert sum(len(group.layers) for group in groups) == sum(bool(layer.costs) for layer in LAYERS)
    modules = [group for group in groups if group.label not in MEANINGS]
    assert len(modules) <= LIMIT + 1
    assert "blocks.3 (3 layers)" in [group.label for group in groups]
    assert "stem" in [group.label for group in groups]


def test_all_layers_stand_when_nothing_is_to_be_folded() -> None:
    assert [group.label for group in fold(LAYERS, None)][:3] == ["(the model itself)", "stem", "blocks.0.attention"]
    assert "blocks.7.norm" in on_page(profile_document(PROFILE, all_layers=True))
    assert "blocks.7.norm" not in on_page(profile_document(PROFILE))


def test_a_row_that_is_mostly_correction_has_no_rate() -> None:
    costs = [
        PhaseCost(phase=Phase.FORWARD, seconds=seconds, profiled_seconds=1e-5, flops=10**6)
        for seconds in (4e-6, 6e-6, 0.0)
    ]
    groups = [Group(label="fc", layers=(ProfiledLayer(name="fc", costs=(cost,)),)) for cost in costs]
    (rates,) = (column.cells for column in layer_columns(PROFILE, groups) if "FLOP/s" in column.heading)
    assert [rate == "-" for rate in rates] == [True, False, True, False]  # the last is the step


def test_rows_with_the_same_seconds_are_not_merged_by_mistake() -> None:
    twins = [dataclasses.replace(LAYERS[1], name=name) for name in ("a", "b")]
    assert [group.label for group in fold(twins)] == ["a", "b"]


def test_boxes_sum_to_the_step_and_lie_within_their_parents() -> None:
    root = flame(PROFILE)
    assert root.total == pytest.approx(STEP)
    boxes = flame_boxes(PROFILE, phase_colors(Phase))
    assert boxes[0].width == pytest.approx(100)
    for box in boxes:
        assert box.width >= NARROWEST
        if box.row:
            assert any(
                p.row == box.row - 1 and p.x <= box.x + 1e-9 and box.x + box.width <= p.x + p.width + 1e-9
                for p in boxes
            )
    phases = [box for box in boxes if box.row == 1]
    assert sum(box.width for box in phases) == pytest.approx(100)


def own_step() -> Profile:
    costs = [PhaseCost(phase=phase, seconds=STEP / 2, profiled_seconds=STEP / 2) for phase in ("critic", "generator")]
    counted = PhaseCost(
        phase=Phase.FORWARD, seconds=0.0, profiled_seconds=0.0, flops=10**6
    )  # FLOPs are counted by the built-in phases
    return dataclasses.replace(PROFILE, layers=(ProfiledLayer(name="net", costs=(*costs, counted)),))


def test_a_step_of_ones_own_has_its_phases_in_the_columns_and_none_that_it_lacks() -> None:
    columns = layer_columns(own_step(), fold(own_step().layers))
    names = [column.name for column in columns]
    assert [name for name in names if name in {"fwd", "bwd", "critic", "generator"}] == ["critic", "generator"]


def test_a_phase_has_the_same_colour_in_boxes_and_in_their_legend_and_no_other_phase_has_it() -> None:
    section = SECTION.build(make_data([make_run(id="r", profiles=(PROFILE, own_step()))]))
    assert section is not None
    legend = {entry["name"]: entry["color"] for entry in section["legend"]}
    assert list(legend) == ["forward", "loss", "backward", "optimizer", "critic", "generator"]
    assert len(set(legend.values())) == len(legend)
    for profile in section["profiles"]:
        for box in profile["boxes"]:
            assert box.color == (legend[box.full.partition(":")[0]] if box.row == 1 else box.color)
            assert (box.color in legend.values()) == bool(box.row)  # the step is no phase
    alone = SECTION.build(make_data([make_run(id="r", profiles=(own_step(),))]))
    assert alone is not None
    assert [entry["name"] for entry in alone["legend"]] == ["critic", "generator"]


def test_a_run_with_profiles_has_a_section_and_one_without_has_none() -> None:
    evil = dataclasses.replace(PROFILE, layers=(dataclasses.replace(LAYERS[1], name="<script>x</script>"),))
    page = render(make_data([make_run(id="r", profiles=(PROFILE, GPU, evil))]))
    assert "Where the time goes" in page
    assert 'class="bar flame"' in page
    assert "blocks.3.mlp: 2.00 ms" in page
    assert "<script>x" not in page
    assert SECTION.build(make_data([make_run(id="r")])) is None
