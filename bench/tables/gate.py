"""The result of a gate as text: changed cells, counters and operations, and the rows to commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.core.cell import Mode
from bench.core.gate import CounterChange, GateRow, GateVerdict
from bench.core.units import counted
from bench.tables.columns import MISSING
from bench.tables.document import Block, Document, Notes, Rows, Text, Verbatim
from bench.tables.figures import plain, significant, tally
from bench.tables.table import Column

_WORDS = {
    GateVerdict.MORE: "costs more than is on record",
    GateVerdict.LESS: "costs less than is on record; commit the new row, so that the gain cannot be lost unnoticed",
    GateVerdict.MISSING: "is not on record",
    GateVerdict.EXTRA: "is on record, but not a cell of the suite",
    GateVerdict.UNCOUNTED: "could not be counted",
}
_STYLES = {GateVerdict.LESS: "yellow"}


def gate_summary(suite: str, torch: str, rows: Sequence[GateRow]) -> str:
    """Count the verdicts, and name counters without a value: `suite gate, torch 2.15: 17 cells: 17 same`."""
    cells = tally("cell", (row.verdict for row in rows), GateVerdict)
    return f"suite {plain(suite)}, torch {plain(torch)}: {cells}{_empty(rows)}"


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


def gate_document(rows: Sequence[GateRow], lines: Sequence[str | None]) -> Document:
    """Describe the differences to the record: a line per cell, a table of counters, the rows to commit.

    `lines` are the line of each row to commit, or None. The document is empty if nothing differs.
    """
    changed = [row for row in rows if row.verdict in _WORDS]
    entries = [(row, change) for row in changed for change in row.counters]
    commit = [plain(line) for line in lines if line is not None]
    blocks: list[Block] = []
    if changed:
        styles: dict[int, str | None] = {index: _STYLES.get(row.verdict, "red") for index, row in enumerate(changed)}
        blocks.append(Notes(lines=[_note(row) for row in changed], first="", indent="  ", styles=styles))
    if entries:
        blocks.append(Rows(columns=_columns(entries)))
    if commit:
        meant = " (if the increase is intended)" if any(row.verdict is GateVerdict.MORE for row in rows) else ""
        blocks += [Text(text=f"Rows to commit{meant}:"), Verbatim(lines=commit, language="csv", close=True)]
    return blocks


def gate_verdict(suite: str, torch: str, rows: Sequence[GateRow]) -> str:
    """State in one line whether the gate is open."""
    word = "pass" if all(row.is_passing for row in rows) else "FAIL"
    return f"bench gate: {word} · {gate_summary(suite, torch, rows)}"


def _note(row: GateRow) -> str:
    note = f"{row.verdict.value.upper()} {plain(row.cell.id)} {_WORDS[row.verdict]}"
    note += f": {plain(row.reason)}" if row.reason else ""
    return note + (f"; operations: {operations_text(row.operations)}" if row.operations else "")


def operations_text(changes: Sequence[CounterChange]) -> str:
    """Name operations whose calls changed, those that grew first: `aten.clone.default 3 -> 5`."""
    ordered = sorted(changes, key=lambda change: not change.is_more)
    return ", ".join(f"{plain(c.name)} {_value(c.expected)} -> {_value(c.found)}" for c in ordered)


def _columns(entries: Sequence[tuple[GateRow, CounterChange]]) -> list[Column]:
    changes = [change for _, change in entries]
    return [
        Column(name="cell", cells=tuple(plain(row.cell.id) for row, _ in entries), right=False, key=True),
        Column(name="counter", cells=tuple(plain(c.name) for c in changes), right=False, key=True),
        Column(name="recorded", cells=tuple(_value(c.expected) for c in changes)),
        Column(name="found", cells=tuple(_value(c.found) for c in changes)),
        Column(name="change", cells=tuple(change_text(c) for c in changes)),
    ]


def _value(value: int | None) -> str:
    return MISSING if value is None else f"{value:,}"


def change_text(change: CounterChange) -> str:
    """Write how much a counter changed: `+4.8 %`, `-0.0012 %`; as a count if a percentage has no meaning."""
    if change.found is None:
        return "not counted"
    if change.fraction is None:
        return "new" if change.expected is None else f"+{change.found:,}"
    return f"{'-' if change.fraction < 0 else '+'}{significant(abs(change.fraction) * 100, 2)} %"
