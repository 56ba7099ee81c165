"""Where the time of a step goes: a flame graph, layers, operations and advice of each profile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.core.profile import Profile
from bench.report.html.contract import ReportData, Section
from bench.report.html.flame import flame_boxes
from bench.tables.figures import first, name, words
from bench.tables.fold import fold
from bench.tables.profile import doubt_lines, headline, layer_columns, operator_columns, sentences
from bench.tables.table import make_table

_MOST_PROFILES = 8
_MOST_ROWS = 80


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Show every profile of every run."""
    found = [profile for run in data.runs for profile in run.profiles]
    shown, note = first(found, _MOST_PROFILES, "profiles")
    if not shown:
        return None
    return {
        "profiles": [_values(profile) for profile in shown],
        "legend": [
            {"name": phase, "color": color, "dash": 0}
            for phase, color in (("forward", 0), ("loss", 2), ("backward", 1), ("optimizer", 5))
        ],
        "notes": [note] if note else [],
    }


SECTION = Section(anchor="profile", title="Where the time goes", build=build)


def _values(profile: Profile) -> dict[str, Any]:
    boxes = flame_boxes(profile)
    cell = name(profile.cell.id)
    layers, operators = layer_columns(profile, fold(profile.layers, _MOST_ROWS)), operator_columns(profile)
    return {
        "name": cell,
        "headline": words(headline(profile)),
        "boxes": boxes,
        "height": (max(box.row for box in boxes) + 1) * 20,
        "layers": make_table(layers, caption=f"Layers of {cell}", total=True),
        "operators": make_table(operators, caption=f"Operations of {cell}", total=True),
        "sentences": [words(sentence) for sentence in (*doubt_lines(layers, operators), *sentences(profile))],
    }
