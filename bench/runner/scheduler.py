"""The loop over the cells: execute, put on disk, tell the observers. Order is the plan's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.core.cell import Cell
from bench.core.record import Record
from bench.runner.events import CellFinished, CellPrepared, CellStarted, Event, Observer, RunFinished, RunStarted
from bench.runner.executor import Executor
from bench.store.records import RunFolder


def run_cells(
    cells: Sequence[Cell], executor: Executor, folder: RunFolder, observers: Iterable[Observer] = ()
) -> tuple[Record, ...]:
    """Measure every cell; each record is on disk before the next cell starts.

    Raises:
        StoreError: A record cannot be written; those before it are on disk.
        KeyboardInterrupt: Passed on after the observers have heard that the run ended early.
    """
    listeners = tuple(observers)

    def emit(event: Event) -> None:
        for listener in listeners:
            listener(event)

    records: list[Record] = []
    emit(RunStarted(folder=folder.path, cells=tuple(cells)))
    try:
        executor.prepare(cells, lambda cell: emit(CellPrepared(cell=cell)))
        for index, cell in enumerate(cells):
            emit(CellStarted(cell=cell, index=index))
            record = executor.run(cell)
            folder.append(record)
            records.append(record)
            emit(CellFinished(record=record, index=index))
    finally:
        is_complete = len(records) == len(cells)
        emit(RunFinished(folder=folder.path, records=tuple(records), is_complete=is_complete))
    return tuple(records)
