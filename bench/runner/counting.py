"""Count cells without measuring them: records that hold counters and no samples."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.cell import Cell
from bench.core.errors import BenchError
from bench.core.record import Outcome, Record
from bench.runner import processes
from bench.runner.answers import ObservedCell
from bench.runner.stamp import Stamp


def count_cells(cells: Sequence[Cell], *, method: str = "forkserver") -> tuple[Record, ...]:
    """Count parameters, FLOPs, operations and the predicted peak of one step of each cell.

    A model that cannot be counted is a FAILED record; one that is not there is an error.

    Raises:
        BenchError: A model is not there or cannot be imported.
    """
    if any(cell.model.startswith("torchvision:") for cell in cells):
        processes.preload("torchvision")
    return tuple(_count_cell(cell, method) for cell in cells)


def _count_cell(cell: Cell, method: str) -> Record:
    stamp = Stamp(cell)
    ending = processes.call("bench.runner.worker:count_cell", cell, method=method)
    if ending.error is not None:
        raise ending.error
    if ending.outcome is not Outcome.OK:
        return stamp.record(ending.outcome, reason=ending.reason, output_tail=ending.output_tail)
    answer: ObservedCell = ending.value
    return stamp.record(Outcome.OK, counters=answer.counters, advice=answer.advice)


def require_counted(records: Sequence[Record]) -> None:
    """Refuse when nothing at all could be counted.

    Raises:
        BenchError: No record is OK; the message is the first one's reason.
    """
    if not any(record.outcome is Outcome.OK for record in records):
        raise BenchError(f"{records[0].cell.id} could not be counted: {records[0].reason}")
