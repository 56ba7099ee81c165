"""Where the time of a step goes: a flame graph, layers, operations and advice of each profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.core.profile import Profile
from bench.core.record import Phase
from bench.core.units import format_seconds
from bench.report.html.contract import ReportData, Section
from bench.report.html.groups import NO_PHASE, phase_colors
from bench.tables.document import Rows
from bench.tables.figures import first, name, plain, shorten, words
from bench.tables.fold import fold
from bench.tables.profile import doubt_lines, headline, layer_columns, operator_columns, phases_of, sentences

NARROWEST = 0.1
"""Percent of the width; a narrower box is invisible, and is left out with all below it."""

_LETTERS_PER_PERCENT, _ON_A_PHONE = 1.4, 0.4


@dataclass(slots=True)
class Flame:
    """One box: its own seconds, and the boxes below it by the last part of their name."""

    name: str
    seconds: float = 0.0
    phase: Phase | str | None = None
    children: dict[str, Flame] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Seconds of the box with everything below it."""
        return self.seconds + sum(child.total for child in self.children.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class FlameBox:
    """A box with its position.

    Attributes:
        x: Percent of the width; the same for `width`.
        row: Number of the row, from the top.
        color: Number of a colour.
        text: What fits into the box.
        is_tight: It does not fit on a phone.
        full: Name, time and share.
    """

    x: float
    width: float
    row: int
    color: int
    text: str
    is_tight: bool
    full: str


def flame(profile: Profile) -> Flame:
    """Arrange the rows of a profile as step, phase, module, module within it; the boxes sum to the step."""
    root = Flame("step")
    for phase in phases_of(profile.layers):
        for layer in profile.layers:
            seconds = layer.seconds_in(phase)
            if seconds <= 0:
                continue
            box = root.children.setdefault(str(phase), Flame(str(phase), phase=phase))
            is_module = bool(layer.name) and not layer.name.startswith("(")
            path = layer.name.split(".") if is_module else [layer.name or "(the model itself)"]
            for index, part in enumerate(path):
                box = box.children.setdefault(part, Flame(".".join(path[: index + 1]), phase=phase))
            box.seconds += seconds
    return root


def flame_boxes(profile: Profile, colors: Mapping[Phase | str, int]) -> tuple[FlameBox, ...]:
    """Place the boxes of a profile; the widest child of a box is on the left."""
    root = flame(profile)
    return tuple(_place(root, 0.0, 0, root.total or 1.0, colors))


def _place(box: Flame, x: float, row: int, total: float, colors: Mapping[Phase | str, int]) -> Iterator[FlameBox]:
    width = box.total / total * 100
    if width < NARROWEST:
        return
    room = int(width * _LETTERS_PER_PERCENT)
    name = plain(box.name)
    text = shorten(name.rpartition(".")[2], room) if room >= 3 else ""
    yield FlameBox(
        x=x,
        width=width,
        row=row,
        color=colors[box.phase] if box.phase else NO_PHASE,
        text=text,
        is_tight=len(text) > width * _ON_A_PHONE,
        full=f"{name}: {format_seconds(box.total)}, {box.total / total:.1%}",
    )
    for child in sorted(box.children.values(), key=lambda child: -child.total):
        yield from _place(child, x, row + 1, total, colors)
        x += child.total / total * 100


_MOST_PROFILES = 8

_MOST_ROWS = 80


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Show every profile of every run."""
    found = [profile for run in data.runs for profile in run.profiles]
    shown, note = first(found, _MOST_PROFILES, "profiles")
    if not shown:
        return None
    colors = phase_colors(phases_of(layer for profile in shown for layer in profile.layers))
    return {
        "profiles": [_values(profile, colors) for profile in shown],
        "legend": [{"name": str(phase), "color": color, "dash": 0} for phase, color in colors.items()],
        "notes": [note] if note else [],
    }


SECTION = Section(anchor="profile", title="Where the time goes", build=build)


def _values(profile: Profile, colors: Mapping[Phase | str, int]) -> dict[str, Any]:
    boxes = flame_boxes(profile, colors)
    cell = name(profile.cell.id)
    layers, operators = layer_columns(profile, fold(profile.layers, _MOST_ROWS)), operator_columns(profile)
    return {
        "name": cell,
        "headline": words(headline(profile)),
        "boxes": boxes,
        "height": (max(box.row for box in boxes) + 1) * 20,
        "layers": Rows(columns=layers, caption=f"Layers of {cell}", total=True),
        "operators": Rows(columns=operators, caption=f"Operations of {cell}", total=True),
        "sentences": [words(sentence) for sentence in (*doubt_lines(layers, operators), *sentences(profile))],
    }
