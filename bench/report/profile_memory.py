"""Memory over one step as a line of blocks, and the causes at its highest instant."""

from __future__ import annotations

from dataclasses import fields

from bench.core.profile import MemoryPoint, MemoryProfile
from bench.core.units import format_bytes
from bench.report.layout import Page

_BLOCKS, _PLAIN = "▁▂▃▄▅▆▇█", ".:-=+*#@"
_LETTERS = {"forward": "f", "loss": "l", "backward": "b", "optimizer": "o"}
_SHORT = {"saved_activations": "activations", "optimizer_state": "optimizer"}


def memory_text(memory: MemoryProfile, page: Page) -> str:
    """Draw the bytes alive over a step, with the phase below, and name what filled the highest instant."""
    points = _spread(memory.points, max(10, page.width - 2))
    low, high = (pick(point.total_bytes for point in points) for pick in (min, max))
    signs = _BLOCKS if page.unicode else _PLAIN
    scale = (len(signs) - 1) / max(1, high - low)
    line = "".join(signs[round((point.total_bytes - low) * scale)] for point in points)
    phases = "".join(_LETTERS[point.phase.value] for point in points)
    peak = memory.peak
    causes = [(f.name.removesuffix("_bytes"), getattr(peak, f.name)) for f in fields(MemoryPoint) if f.name != "phase"]
    known = ", ".join(f"{_SHORT.get(name, name)} {format_bytes(size)}" for name, size in causes if size)
    words = [
        page.wrap(f"Memory over a step, {format_bytes(low)} to {format_bytes(high)} ({memory.method})", "  ", ""),
        f"  {line}\n  {phases}",
        page.wrap(f"Peak {format_bytes(peak.total_bytes)} in {peak.phase.value}: {known}", "  ", ""),
    ]
    if memory.measured:
        measured = ", ".join(
            f"{one.phase.value} {format_bytes(one.peak_allocated_bytes)} (left {format_bytes(one.end_allocated_bytes)})"
            for one in memory.measured
        )
        words.append(page.wrap(f"Peaks of the allocator by phase: {measured}", "  ", ""))
    return "\n".join(page.sign(word) for word in words)


def _spread(points: tuple[MemoryPoint, ...], width: int) -> list[MemoryPoint]:
    """Thin points out to a width: of each stretch its highest."""
    size = -(-len(points) // width)
    return [max(points[i : i + size], key=lambda p: p.total_bytes) for i in range(0, len(points), size)]
