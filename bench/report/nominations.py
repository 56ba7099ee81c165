"""Two stored runs side by side: what changed by how much, what is worth a comparison, and why this is no verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.report.comparison_words import change
from bench.report.figures import plain, significant, time_unit
from bench.report.layout import Column, Page, render

WHY_NOT = (
    "These are nominations, not verdicts: each side is one process or a few, measured at another time. Every process "
    "has its own speed and a machine has moods: two runs of unchanged code differed by 25 to 29 % on a shared machine."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nomination:
    """One cell of two stored runs.

    Attributes:
        base: Median seconds per step; None where the cell is missing or failed there.
        head: The same of the other run.
        shift: log(head / base); None where a side is missing.
        is_suspect: Changed enough to be worth `bench ab`.
        missing: What is missing, in words; empty if nothing is.
        processes: Fresh processes of base and of head.
    """

    cell_id: str
    cell_key: str
    base: float | None = None
    head: float | None = None
    shift: float | None = None
    is_suspect: bool = False
    missing: str = ""
    processes: tuple[int, int] = (0, 0)


def nominations_report(
    nominations: Sequence[Nomination],
    *,
    commands: Sequence[str],
    notes: Sequence[str] = (),
    width: int = 80,
    color: bool = False,
    unicode: bool = True,
) -> str:
    """Write nominations for a terminal, with the commands that can judge."""
    page = Page(width=width, color=color, unicode=unicode)
    unit = time_unit([s for n in nominations for s in (n.base, n.head) if s is not None]) or (1.0, "s")
    columns = [
        Column(header="cell", cells=tuple(plain(n.cell_id) for n in nominations), right=False, key=True),
        Column(header=f"base {unit[1]}", cells=tuple(_seconds(n.base, unit[0]) for n in nominations)),
        Column(header=f"head {unit[1]}", cells=tuple(_seconds(n.head, unit[0]) for n in nominations)),
        Column(header="change %", cells=tuple(change(n.shift) for n in nominations)),
        Column(header="nominated", cells=tuple("suspect" if n.is_suspect else "" for n in nominations), right=False),
    ]
    spans = {row: plain(n.missing) for row, n in enumerate(nominations) if n.missing}
    styles = {row: "yellow" for row, n in enumerate(nominations) if n.is_suspect or n.missing}
    suspects = sum(n.is_suspect for n in nominations)
    missing = sum(bool(n.missing) for n in nominations)
    total = f"{len(nominations)} cells: {suspects} suspect, {missing} missing on a side"
    parts = [render(columns, page, spans=spans, styles=styles), "", page.wrap(total), "", page.wrap(WHY_NOT)]
    parts += [page.wrap(f"Note: {plain(note)}") for note in notes]
    if commands:
        parts += ["To judge, run:", *(f"  {plain(command)}" for command in commands)]
    return "\n".join(parts)


def _seconds(seconds: float | None, scale: float) -> str:
    return "-" if seconds is None else significant(seconds / scale)
