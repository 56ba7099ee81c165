"""Counters on record: `counters.csv`, one row per cell, and `dispatches.csv`, one row per cell and operation.

Two files, because a diff is read line by line: an operation that is called twice more is one changed line. Rows are
sorted, so that two branches that change different cells do not conflict.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core.cell import Cell
from bench.core.errors import StoreError, UsageError
from bench.core.files import read_text_file
from bench.core.gate import CounterRow
from bench.store.atomic import csv_lines, make_folder, store_error, write_bytes
from bench.suite.axes import AXES

COUNTERS_FILE, DISPATCHES_FILE = "counters.csv", "dispatches.csv"
COUNTERS = (
    "parameters",
    "flops_forward",
    "flops_backward",
    "uncounted_calls",
    "dispatch_count",
    "bytes_touched",
    "saved_bytes",
    "predicted_peak_bytes",
)
"""The counters on record; an empty field is not counted."""

_COUNTERS_HEADER = ("suite", "torch", *AXES, *COUNTERS)
"""Every axis of a cell is in it, so that no two cells share a row; `device` holds only the kind."""

_LATER = tuple(name for name, axis in AXES.items() if not axis.about.is_always_named)
"""Axes that a file may lack, because it was made before them."""

_DISPATCHES_HEADER = ("suite", "torch", "cell", "operation", "calls")


def read_expected(folder: Path) -> tuple[CounterRow, ...]:
    """Read every row on record; none where there is no file yet.

    Raises:
        StoreError: A file cannot be read or understood; the message names the line.
    """
    dispatches: dict[tuple[str, str, str], list[tuple[str, int]]] = defaultdict(list)
    for where, line in _read(folder / DISPATCHES_FILE, _DISPATCHES_HEADER):
        key = (line["suite"], line["torch"], line["cell"])
        dispatches[key].append((line["operation"], _whole(line["calls"], where)))
    rows: dict[tuple[str, str, str], CounterRow] = {}
    for where, line in _read(folder / COUNTERS_FILE, _COUNTERS_HEADER):
        cell = _read_cell(line, where)
        key = (line["suite"], line["torch"], cell.id)
        if key in rows:
            raise StoreError(f"{where}: a second row for {cell.id}, torch {line['torch']}; keep one")
        counters = tuple((name, _whole(line[name], where) if line[name] else None) for name in COUNTERS)
        found = tuple(sorted(dispatches.pop(key, ())))
        rows[key] = CounterRow(suite=key[0], torch=key[1], cell=cell, counters=counters, dispatches=found)
    for suite, torch, name in dispatches:
        raise StoreError(
            f"{folder / DISPATCHES_FILE}: {name} (suite {suite}, torch {torch}) has no row in {COUNTERS_FILE}"
        )
    return tuple(rows.values())


def write_expected(folder: Path, rows: Sequence[CounterRow]) -> None:
    """Write all rows, sorted; each file is replaced whole.

    Raises:
        StoreError: A file cannot be written.
    """
    ordered = sorted(rows, key=_order)
    make_folder(folder)
    lines = [(row.suite, row.torch, row.cell.id, name, str(calls)) for row in ordered for name, calls in row.dispatches]
    write_bytes(folder / DISPATCHES_FILE, _csv([_DISPATCHES_HEADER, *lines]).encode())
    write_bytes(folder / COUNTERS_FILE, _csv([_COUNTERS_HEADER, *map(_fields, ordered)]).encode())


def counters_line(row: CounterRow) -> str:
    """Write a row as its line of `counters.csv`, without the line break."""
    return _csv([_fields(row)]).rstrip("\n")


def _fields(row: CounterRow) -> tuple[str, ...]:
    counters = dict(row.counters)
    values = [(axis, getattr(row.cell, name)) for name, axis in AXES.items()]
    texts = ["" if value is None else axis.words(value) for axis, value in values]
    return (row.suite, row.torch, *texts, *(_text(counters[name]) for name in COUNTERS))


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _csv(lines: Sequence[Sequence[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()


def _read(path: Path, header: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each line with its place, `file:line`."""
    try:
        text = read_text_file(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise store_error("read", path, error) from error
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} is not UTF-8 text: {error.reason}") from error
    reader = csv.reader(io.StringIO(text))
    for fields in csv_lines(reader, path):
        where = f"{path}:{reader.line_num}"
        if reader.line_num == 1:
            columns = tuple(fields)
            if columns != tuple(name for name in header if name in columns or name not in _LATER):
                raise StoreError(f"{where}: the columns must be {','.join(header)}; make the file with --update")
        elif len(fields) != len(columns):
            raise StoreError(f"{where}: {len(fields)} fields, not {len(columns)}; fix the line, or use --update")
        else:
            yield where, dict(zip(columns, fields, strict=True))


def _read_cell(line: Mapping[str, str], where: str) -> Cell:
    """Read the axes of a row; a file of before there was an axis has no column for it, and its default."""
    try:
        typed = {name: line[name] for name in AXES if name in line}
        return Cell(**{name: AXES[name].read(text or None) for name, text in typed.items()})
    except UsageError as error:
        raise StoreError(f"{where}: {error}") from error


def _whole(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 31):
        raise StoreError(f"{where}: {text!r} is not a count")
    return int(text)


def _order(row: CounterRow) -> tuple[Any, ...]:
    """Sort versions and batches as numbers."""
    version = tuple(int(part) if part.isdigit() else 0 for part in row.torch.split("."))
    cell = row.cell
    return (row.suite, version, row.torch, cell.device, cell.model, cell.mode, cell.batch_size, cell.id)
