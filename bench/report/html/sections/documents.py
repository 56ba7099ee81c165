"""Sections that show a document which a command prints too, by the macro `document` of `macros.html`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.core.record import Record
from bench.core.units import counted
from bench.report.html.contract import ReportData, Section
from bench.report.html.groups import run_names
from bench.stats.cold import has_build, paybacks
from bench.stats.scaling import scalings
from bench.store.stored import StoredRun
from bench.tables.cell_values import FEW_KEYS, key_columns
from bench.tables.cells import figure_columns
from bench.tables.document import Block, Document, Notes, Rows, Text
from bench.tables.figures import first, name
from bench.tables.nominations import headline as nominations_headline
from bench.tables.nominations import nominations_document
from bench.tables.parts import layer_columns
from bench.tables.run import cold_notes
from bench.tables.scaling import ranks_document, scaling_document
from bench.tables.scenarios import generation_document, sampling_document
from bench.tables.table import Column

_MOST_CASES, _MOST_CELLS, _MOST_MODELS, _MOST_LAYERS = 200, 100, 16, 150


def _section(anchor: str, title: str, write: Callable[[ReportData], Document]) -> Section:
    """Make a section of a document; an empty one is left out."""

    def build(data: ReportData) -> Mapping[str, Any] | None:
        document = write(data)
        return {"blocks": document} if document else None

    return Section(anchor=anchor, title=title, build=build, template="document.html")


def _cases(
    of: Callable[[StoredRun], Sequence[Any]], write: Callable[[Sequence[Any]], Document]
) -> Callable[[ReportData], Document]:
    """Write the cases of all runs."""

    def document(data: ReportData) -> Document:
        measured, note = first([one for run in data.runs for one in of(run)], _MOST_CASES, "combinations")
        return [*write(measured), Notes(lines=[note] if note else [])] if measured else []

    return document


def _comparison(data: ReportData) -> Document:
    """Write each run beside the first, as `bench compare` does; a line for each that has no cell in common with it."""
    common = [pair for pair in data.nominated if pair.nominations]
    strange = [pair for pair in data.nominated if not pair.nominations]
    if not common and len(strange) > 1:
        first_run = name(strange[0].base.id)
        return [Text(text=f"No run has a cell in common with {first_run}", style="bold")]
    blocks = [block for pair in common or strange for block in nominations_document(pair)]
    if common and strange:
        blocks.append(Notes(lines=[f"{nominations_headline(pair)}." for pair in strange]))
    return blocks


def _growth(data: ReportData) -> Document:
    """Fit the groups of the newest run that has one of three sizes."""
    for number in reversed(range(len(data.runs))):
        steps = {row.record.cell.key: row.summary.step for row in data.rows if row.run == number}
        if found := scalings(data.runs[number].records, steps):
            return scaling_document(found)
    return []


def _ranks(data: ReportData) -> Document:
    """Write what several processes gain, in the newest run that has such cells."""
    for run in reversed(data.runs):
        if found := ranks_document(run.records, _MOST_CELLS):
            return found
    return []


def _start(data: ReportData) -> Document:
    """Write the cells whose start was measured, in the order of the run; of too many cells the compiled ones stay."""
    begun = [row for row in data.rows if has_build(row.record)]
    if not begun:
        return []
    found = [one for run in data.runs for one in paybacks(run.records, run.records)]  # in the order of the rows
    chosen = sorted(begun, key=lambda row: found[row.index] is None)[:_MOST_CELLS]
    rows = sorted(chosen, key=lambda row: row.index)
    rest = len(begun) - len(rows)
    note = [f"{rest:,} of {len(begun):,} cells are left out, compiled ones last."] if rest else []
    runs = run_names(data)
    keys = key_columns([row.record for row in rows], FEW_KEYS)  # and what varies
    names = [
        *([Column(name="run", cells=tuple(runs[row.run] for row in rows), right=False, key=True)] if any(runs) else []),
        *(replace(key, cells=tuple(map(name, key.cells))) for key in keys),
    ]
    figures = figure_columns(
        [row.record for row in rows], [row.summary for row in rows], "cold", [found[row.index] for row in rows]
    )
    return [
        Text(
            text="Build and first step are measured in the process that measures the cell, with torch loaded before. "
            "Start-up is the build plus the time that the steps until steady took beyond steady ones."
        ),
        Rows(
            columns=[*names, *(replace(column, rank=0) for column in figures)],
            caption="Build, first step and steady state",
        ),
        Notes(lines=[*note, *cold_notes(data.records)]),
    ]


def _layers(data: ReportData) -> Document:
    """Write the layers of each model, for its first cell in which layers were counted."""
    records: dict[str, Record] = {}
    for record in data.records:
        if record.counters.layers:
            records.setdefault(record.cell.model, record)
    chosen, note = first(list(records.values()), _MOST_MODELS, "models")
    blocks: list[Block] = [
        Text(text="What each module adds by itself, without its children; the last row is the sum of all.")
    ]
    for record in chosen:
        modules = f"{counted(len(record.counters.layers), 'module')}, counted for {name(record.cell.id)}"
        caption = f"Layers of {name(record.cell.model)}: {modules}"
        columns = [_bounded(column) for column in layer_columns(record)]
        blocks.append(Rows(columns=columns, caption=caption, total=True, folded=len(blocks) > 1))
        if len(record.counters.layers) > _MOST_LAYERS:
            blocks.append(Notes(lines=[f"The first {_MOST_LAYERS} are shown; all are in the run's tables/layers.csv."]))
    return [*blocks, Notes(lines=[note] if note else [])] if chosen else []


def _bounded(column: Column) -> Column:
    """Keep the first rows, and the last one, which is the sum of all."""
    if len(column.cells) <= _MOST_LAYERS + 1:
        return column
    return replace(column, cells=(*column.cells[:_MOST_LAYERS], column.cells[-1]))


COMPARISON = _section("comparison", "Comparison", _comparison)
START = _section("start", "Start of each cell", _start)
RANKS = _section("ranks", "Several processes", _ranks)
GROWTH = _section("growth", "How cost grows", _growth)
TEXT = _section("generation", "Generating text", _cases(lambda run: run.generations, generation_document))
IMAGES = _section("sampling", "Sampling images", _cases(lambda run: run.images, sampling_document))
LAYERS = _section("layers", "Layers", _layers)
