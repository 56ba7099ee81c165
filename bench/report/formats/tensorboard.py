"""Event files of TensorBoard: one of its runs per measured cell, in a folder of its own.

`steps/seconds` is a curve of the timed steps; the other scalars are one value each, by the names of OpenMetrics. The
axes are the cell's hyperparameters, so the tab HPARAMS is the table of cells; its doubts stand in the tab TEXT.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.core.text import plain
from bench.report.formats import Format
from bench.report.formats.openmetrics import GAUGES
from bench.store.stored import Measured, StoredRun, doubts
from bench.suite.axes import AXES

_UNSAFE = re.compile(r"[^\w.,=@+-]+")
_LONGEST = 100


def to_tensorboard(run: StoredRun, folder: Path) -> None:
    """Write a run's measured cells below a folder; another run may lie there already."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for one in run.measured:
        cell, began = one.record.cell, datetime.fromisoformat(one.record.started_at).timestamp()
        name = f"{_UNSAFE.sub('-', cell.id)[:_LONGEST]}.{cell.key[:6]}"  # an id may hold a path, `..` too
        writer = EventFileWriter(str(folder / run.id / name))
        for step, summary in _summaries(run, one):
            writer.add_event(Event(wall_time=began, step=step, summary=summary))
        writer.close()


def _summaries(run: StoredRun, one: Measured) -> Iterator[tuple[int, Any]]:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.plugins.text.summary_v2 import text_pb

    cell = one.record.cell
    yield 0, hparams_pb({name: plain(axis.words(getattr(cell, name))) for name, axis in AXES.items()})
    about = (f"run {run.id}", f"cell {plain(cell.id)}", *(f"doubt: {kind}" for kind in doubts(one.record)))
    yield 0, text_pb("about", "\n".join(f"- {line}" for line in about))
    for name, column in GAUGES:
        if (value := column.get(one)) is not None:
            yield 0, Summary(value=[Summary.Value(tag=name, simple_value=value)])
    for step, seconds in enumerate(one.steps):
        yield step, Summary(value=[Summary.Value(tag="steps/seconds", simple_value=seconds)])


FORMAT = Format(write_folder=to_tensorboard)
