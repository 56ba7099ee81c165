"""What a gate found, as text and as Markdown: which cell, which counter, which operations, which row to commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.core.cell import Mode
from bench.core.gate import CounterChange, GateRow, GateVerdict
from bench.core.units import counted
from bench.tables.columns import MISSING
from bench.tables.figures import plain, significant
from bench.tables.table import Column, Page, render

_WORDS = {
    GateVerdict.MORE: "costs more than is on record",
    GateVerdict.LESS: "costs less than is on record; commit the new row, so that the gain cannot be lost unseen",
    GateVerdict.MISSING: "is not on record",
    GateVerdict.EXTRA: "is on record, but no cell of the suite",
    GateVerdict.UNCOUNTED: "could not be counted",
}
_STYLES = {GateVerdict.LESS: "yellow"}


def gate_summary(suite: str, torch: str, rows: Sequence[GateRow]) -> str:
    """Count the verdicts, and name the counters that stayed empty: `suite gate, torch 2.15: 17 cells: 17 same`."""
    counts = Counter(row.verdict for row in rows)
    found = [f"{counts[verdict]} {verdict.value}" for verdict in GateVerdict if counts[verdict]]
    cells = f"{len(rows)} cell{'' if len(rows) == 1 else 's'}"
    return f"suite {plain(suite)}, torch {plain(torch)}: {cells}: {', '.join(found) or 'none'}{_empty(rows)}"


def _empty(rows: Sequence[GateRow]) -> str:
    """Name the counters that were not counted in cells that pass; an inference has no backward."""
    empty = Counter(
        name
        for row in rows
        if row.is_passing and row.found is not None
        for name, value in row.found.counters
        if value is None and not (name == "flops_backward" and row.cell.mode is Mode.INFER)
    )
    named = ", ".join(f"{name.replace('_', ' ')} in {counted(cells, 'cell')}" for name, cells in empty.items())
    return f"; not counted: {named}" if named else ""


def gate_text(
    rows: Sequence[GateRow], lines: Sequence[str | None], width: int = 80, color: bool = False, unicode: bool = True
) -> str:
    """Write one block per cell that differs from what is on record; empty where none does.

    Args:
        rows: What the gate found.
        lines: Each row's line to commit, or None. They are never wrapped, because they are to be copied.
        width: Columns of the terminal.
        color: Whether to use ANSI colours.
        unicode: Whether the stream takes signs beyond ASCII.
    """
    page = Page(width=width, color=color, unicode=unicode)
    blocks = [_block(row, line, page) for row, line in zip(rows, lines, strict=True) if row.verdict in _WORDS]
    return "\n\n".join(blocks)


def _block(row: GateRow, line: str | None, page: Page) -> str:
    head = f"{row.verdict.value.upper()}  {plain(row.cell.id)} {_WORDS[row.verdict]}"
    parts = [page.paint(page.wrap(f"{head}{f': {plain(row.reason)}' if row.reason else ''}", "  ", ""), _style(row))]
    if row.counters:
        parts.append(_indented(render(_columns(row.counters), page)))
    if row.operations:
        parts.append(page.wrap(f"operations: {operations_text(row.operations)}", "    ", "  "))
    if line is not None:
        parts.append(f"  row to commit{', if it is meant so' if row.verdict is GateVerdict.MORE else ''}:\n{line}")
    return "\n".join(parts)


def _style(row: GateRow) -> str:
    return _STYLES.get(row.verdict, "red")


def operations_text(changes: Sequence[CounterChange]) -> str:
    """Name operations whose calls changed, those that grew first: `aten.clone.default 3 -> 5`."""
    ordered = sorted(changes, key=lambda change: not change.is_more)
    return ", ".join(f"{plain(c.name)} {_value(c.expected)} -> {_value(c.found)}" for c in ordered)


def _columns(changes: Sequence[CounterChange]) -> list[Column]:
    return [
        Column(name="counter", cells=tuple(plain(c.name) for c in changes), right=False, key=True),
        Column(name="recorded", cells=tuple(_value(c.expected) for c in changes)),
        Column(name="found", cells=tuple(_value(c.found) for c in changes)),
        Column(name="change", cells=tuple(change_text(c) for c in changes)),
    ]


def _value(value: int | None) -> str:
    return MISSING if value is None else f"{value:,}"


def change_text(change: CounterChange) -> str:
    """Write how much a counter moved: `+4.8 %`, `-0.0012 %`; by count where a percentage has no meaning."""
    if change.found is None:
        return "not counted"
    if change.fraction is None:
        return "new" if change.expected is None else f"+{change.found:,}"
    return f"{'-' if change.fraction < 0 else '+'}{significant(abs(change.fraction) * 100, 2)} %"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
