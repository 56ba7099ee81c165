"""Judge counters against those on record: exact, no statistics. More fails, less passes, missing and extra fail.

Operations are judged one by one, not only by their sum: an operation that is called more often fails although the sum
fell. Fused and foreach variants trade many calls for a few that do other work; whether that is a gain, no count can
say. A person decides, and puts the new row on record.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.gate import CounterChange, CounterRow, GateRow, GateVerdict

Counts = Sequence[tuple[str, int | None]]


def judge_rows(
    expected: Sequence[CounterRow], found: Sequence[CounterRow], reasons: Sequence[tuple[CounterRow, str]] = ()
) -> tuple[GateRow, ...]:
    """Compare the rows of one suite, one version of torch and one kind of device; rows are joined by their cell.

    Args:
        expected: Counts on record.
        found: Counted now; their order is kept, and what is on record only comes last.
        reasons: Rows of `found` that could not be counted, and why.
    """
    on_record = {row.cell: row for row in expected}
    failed = {row.cell: reason for row, reason in reasons}
    judged = [_judge(on_record.get(row.cell), row, failed.get(row.cell)) for row in found]
    cells = {row.cell for row in found}
    extra = [GateRow(verdict=GateVerdict.EXTRA, expected=row) for row in expected if row.cell not in cells]
    return (*judged, *extra)


def _judge(expected: CounterRow | None, found: CounterRow, failure: str | None) -> GateRow:
    if failure is not None:
        return GateRow(verdict=GateVerdict.UNCOUNTED, expected=expected, found=found, reason=failure)
    if expected is None:
        return GateRow(verdict=GateVerdict.MISSING, found=found)
    counters = changes(expected.counters, found.counters, absent=None)
    operations = changes(expected.dispatches, found.dispatches, absent=0)
    if not counters and not operations:
        verdict = GateVerdict.SAME
    elif any(change.is_more for change in (*counters, *operations)):
        verdict = GateVerdict.MORE
    else:
        verdict = GateVerdict.LESS
    return GateRow(verdict=verdict, expected=expected, found=found, counters=counters, operations=operations)


def changes(expected: Counts, found: Counts, *, absent: int | None) -> tuple[CounterChange, ...]:
    """Name what differs, in the order of what was found; `absent` is the value of a name that one side lacks."""
    before, after = dict(expected), dict(found)
    names = dict.fromkeys((*after, *before))
    pairs = ((name, before.get(name, absent), after.get(name, absent)) for name in names)
    return tuple(CounterChange(name=name, expected=old, found=new) for name, old, new in pairs if old != new)
