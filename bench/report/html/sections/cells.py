"""Every cell in one table that can be sorted and filtered; a click shows all figures of a row and its raw samples.

The text of the table is made here, so digits follow the noise as everywhere; the script sorts by what is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.core.record import Outcome, Phase, Record, Sample
from bench.report.html.contract import ReportData, Row, Section
from bench.report.html.groups import run_names
from bench.tables.advice import WORDS
from bench.tables.cell_values import key_columns, outcome_text
from bench.tables.cells import figure_columns
from bench.tables.figures import name, words
from bench.tables.run import caption
from bench.tables.table import Column

BUDGET = 200_000
"""Most raw values on a page; about a megabyte."""

_FEWEST = 20
_MOST = 2_000
_RESOLUTION = 2_000
"""Values are whole multiples of the median / this: half a per mille, far below any noise."""


def raw_samples(rows: Sequence[Row]) -> tuple[dict[int, Any], str]:
    """Return the unsplit steps of every row, thinned if there are too many, and a note that says so.

    Returns:
        By row, a list of processes: `unit` seconds per value, `steps` and `warm` as whole multiples of it, `every`
        which step was taken, `of` how many there were, `clock`; and a sentence for people.
    """
    limit = min(_MOST, max(_FEWEST, BUDGET // max(1, len(rows))))
    found, is_thinned = {}, False
    for row in rows:
        if series := row.record.process_seconds(Phase.STEP):
            share = max(1, limit // len(series))
            found[row.index] = [
                _thinned(seconds, sample, share)
                for seconds, sample in zip(series, _first_ranks(row.record), strict=True)
            ]
            is_thinned = is_thinned or any(one["every"] > 1 for one in found[row.index])
    if not is_thinned:
        return found, ""
    return found, (
        f"This page holds at most {limit:,} steps of each cell, taken at even distances; "
        "all are in the run's folder, records/<cell-key>.json."
    )


def _first_ranks(record: Record) -> list[Sample]:
    """Return one sample per fresh process; of ranks that trained together the first, whose warm-up represents all."""
    found: dict[int, Sample] = {}
    samples = [sample for sample in record.samples if sample.phase is Phase.STEP and sample.seconds]
    if record.cell.world_size == 1:
        return samples
    for sample in samples:
        found.setdefault(sample.process, sample)
    return list(found.values())


def _thinned(seconds: Sequence[float], sample: Sample, limit: int) -> dict[str, Any]:
    every = -(-len(seconds) // limit)
    middle = sorted(seconds)[len(seconds) // 2]
    unit = (middle or max(seconds) or 1.0) / _RESOLUTION
    return {
        "unit": float(f"{unit:.6g}"),
        "steps": [round(second / unit) for second in seconds[::every]],
        "warm": [round(second / unit) for second in sample.warmup_seconds[:40]],
        "every": every,
        "of": len(seconds),
        "clock": sample.clock,
    }


PAGE = 100
"""Rows shown at once; the first of them are in the HTML, so that they are visible without a script."""

_MOST_CHOICES = 40

_SEES = "see"


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Make the table's columns, what stands behind each row, and the first page."""
    if not data.rows:
        return None
    summaries = [row.summary for row in data.rows]
    figures = figure_columns(data.records, summaries)
    columns = [_described(c) for c in (*_run_column(data), *key_columns(data.records), *_outcome(data), *figures)]
    raw, note = raw_samples(data.rows)
    return {
        "caption": caption(data.records, summaries),
        "columns": columns,
        "total": len(data.rows),
        "first_rows": range(min(PAGE, len(data.rows))),
        "marks": {row.index: "bad" for row in data.rows[:PAGE] if row.record.outcome is not Outcome.OK},
        "choices": _choices(columns),
        "raw_note": note,
        "document": {
            "columns": [_encoded(column) for column in columns],
            "rows": len(data.rows),
            "page": PAGE,
            "names": _dictionary([name(row.record.cell.id) for row in data.rows]),
            "bad": [row.index for row in data.rows if row.record.outcome is not Outcome.OK],
            "reasons": {row.index: words(text) for row in data.rows if (text := outcome_text(row.record)) is not None},
            "doubts": {w.mark: f"{w.title}: {w.meaning}. {w.remedy}" for w in WORDS.values()},
            "sees": next((n for n, column in enumerate(columns) if column["name"] == _SEES), None),
            "raw": raw,
        },
    }


SECTION = Section(anchor="cells", title="Cells", build=build)


def _run_column(data: ReportData) -> list[Column]:
    names = run_names(data)
    cells = tuple(names[row.run] for row in data.rows)
    return [Column(name="run", cells=cells, right=False, key=True)] if any(cells) else []


def _outcome(data: ReportData) -> list[Column]:
    outcomes = tuple(row.record.outcome.value.replace("_", " ") for row in data.rows)
    return [Column(name="outcome", cells=outcomes, right=False, key=True)] if set(outcomes) != {"ok"} else []


def _described(column: Column) -> dict[str, Any]:
    return {
        "name": column.name or column.unit,
        "unit": column.unit if column.name else "",
        "right": column.right,
        "is_key": column.key,
        "shown": "html" not in column.hidden_in,
        "texts": tuple(name(cell) for cell in column.cells),
        "noise": column.noise,
    }


def _choices(columns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """List the columns by which rows can be filtered, with their values in the order of appearance."""
    return [
        {"column": number, "name": column["name"], "values": values}
        for number, column in enumerate(columns)
        if column["is_key"] and 1 < len(values := list(dict.fromkeys(column["texts"]))) <= _MOST_CHOICES
    ]


def _encoded(column: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": column["name"],
        "unit": column["unit"],
        "right": column["right"],
        "shown": column["shown"],
        "texts": _dictionary(column["texts"]),
        "noise": _dictionary(column["noise"]) if any(column["noise"]) else None,
    }


def _dictionary(texts: Sequence[str]) -> Any:
    """Write repeated texts once: `{"of": [texts], "at": [index per row]}`; a plain list where most differ."""
    places = {text: index for index, text in enumerate(dict.fromkeys(texts))}
    if len(places) * 2 > len(texts):
        return list(texts)
    return {"of": list(places), "at": [places[text] for text in texts]}
