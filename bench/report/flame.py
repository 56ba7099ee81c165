"""A flame graph of a profile as SVG: the step on top, its phases below, then modules within modules.

Width is time. It needs no script: the pointer shows name, time and share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

from bench.core.profile import Profile
from bench.core.record import Phase
from bench.core.units import format_seconds
from bench.report.figures import shorten

WIDTH, ROW = 1200, 18
_NARROWEST, _LETTER = 0.4, 6.6
_COLORS = {
    Phase.FORWARD: "#7eb6d9",
    Phase.LOSS: "#c3a5d6",
    Phase.BACKWARD: "#e8a66b",
    Phase.OPTIMIZER: "#93c47d",
}


@dataclass(slots=True)
class Flame:
    """One box: its own seconds, and the boxes below it by the last part of their name."""

    name: str
    seconds: float = 0.0
    phase: Phase | None = None
    children: dict[str, Flame] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """With everything below."""
        return self.seconds + sum(child.total for child in self.children.values())

    @property
    def depth(self) -> int:
        """Rows it takes, itself included."""
        return 1 + max((child.depth for child in self.children.values()), default=0)


def flame(profile: Profile) -> Flame:
    """Arrange the rows of a profile as step, phase, module, module within it; the boxes sum to the step."""
    root = Flame("step")
    for phase in _COLORS:
        for layer in profile.layers:
            seconds = layer.seconds_in(phase)
            if seconds <= 0:
                continue
            box = root.children.setdefault(phase.value, Flame(phase.value, phase=phase))
            for part in [layer.name] if layer.name.startswith("(") else layer.name.split(".") if layer.name else []:
                full = part if box.name == phase.value else f"{box.name}.{part}"
                box = box.children.setdefault(part, Flame(full, phase=phase))
            box.seconds += seconds
    return root


def flame_svg(profile: Profile) -> str:
    """Draw the flame graph; wide as its page, at most `WIDTH` units of its own."""
    root = flame(profile)
    height = root.depth * ROW
    boxes = "\n".join(_boxes(root, 0.0, 0, root.total or 1.0))
    return (
        f'<svg class="flame" viewBox="0 0 {WIDTH} {height}" width="100%" role="img"'
        f' aria-label="Flame graph of {escape(profile.cell.id)}" xmlns="http://www.w3.org/2000/svg"'
        f' font-family="monospace" font-size="11">\n{boxes}\n</svg>'
    )


def _boxes(box: Flame, x: float, row: int, total: float) -> Iterator[str]:
    width = box.total / total * WIDTH
    if width < _NARROWEST:
        return
    words = escape(f"{box.name}: {format_seconds(box.total)}, {box.total / total:.1%}")
    color = _COLORS[box.phase] if box.phase else "#cccccc"
    room = int(width / _LETTER)
    text = escape(shorten(box.name.rpartition(".")[2], room)) if room >= 3 else ""
    yield (
        f'<g><title>{words}</title><rect x="{x:.2f}" y="{row * ROW}" width="{width:.2f}" height="{ROW - 1}"'
        f' fill="{color}" stroke="#fff" stroke-width="0.5"/>'
        f'<text x="{x + 3:.2f}" y="{row * ROW + 13}" fill="#111">{text}</text></g>'
    )
    for child in sorted(box.children.values(), key=lambda child: -child.total):
        yield from _boxes(child, x, row + 1, total)
        x += child.total / total * WIDTH
