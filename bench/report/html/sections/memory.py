"""Memory by cause: what the predicted peak consists of, per batch size and precision, beside the measured peak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.core.units import format_bytes
from bench.report.html.bars import Bar, Part, bar_group
from bench.report.html.contract import ReportData, Row, Section
from bench.report.html.groups import grouped, run_names
from bench.tables.cell_values import peak_bytes
from bench.tables.figures import first

CAUSES = (
    ("weights", "weights_bytes", 0),
    ("gradients", "gradients_bytes", 1),
    ("optimizer state", "optimizer_state_bytes", 2),
    ("inputs", "inputs_bytes", 6),
    ("saved activations", "saved_activations_bytes", 5),
    ("temporary", "temporary_bytes", 4),
    ("workspaces", "workspace_bytes", 3),
)
"""Name, field of `PredictedPeak`, colour; in the order of the bars."""

_MOST_GROUPS = 24
_MOST_BARS = 16
_SMALL_PROCESS = 64 * 1024**2
"""Growth of a process below this is mostly what libraries and the allocator keep: no measure of a prediction."""


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Make a group of bars per model, each on a scale of its own."""
    found = grouped(data, lambda row: row.record.counters.predicted_peak is not None)
    groups, note = first(found, _MOST_GROUPS, "models")
    if not groups:
        return None
    runs = run_names(data)
    cut = any(len(group.rows) > _MOST_BARS for group in groups)
    notes = [note, f"At most {_MOST_BARS} cells of a model are shown." if cut else ""]
    methods = {
        row.record.counters.memory.method for group in groups for row in group.rows if row.record.counters.memory
    }
    bars = [_bar(row, runs) for group in groups for row in group.rows[:_MOST_BARS]]
    small = sum(bar.mark is None and bar.figures[1] != format_bytes(None) for bar in bars)
    return {
        "small": f"{small} of {len(bars)}" if small else "",
        "limit": format_bytes(_SMALL_PROCESS),
        "keys": ["batch", "precision", *(["run"] if any(runs) else [])],
        "groups": [bar_group(group.title, [_bar(row, runs) for row in group.rows[:_MOST_BARS]]) for group in groups],
        "legend": [
            {"name": name, "color": color, "dash": 0}
            for name, field, color in CAUSES
            if field != "workspace_bytes" or any(part.name == name for bar in bars for part in bar.parts)
        ],
        "methods": sorted(methods - {""}),
        "notes": [*filter(None, notes), "All others are in the table of cells."] if any(notes) else [],
    }


SECTION = Section(anchor="memory", title="Memory by cause", build=build)


def _bar(row: Row, runs: list[str]) -> Bar:
    cell, predicted = row.record.cell, row.record.counters.predicted_peak
    assert predicted is not None
    value, mark = peak_bytes(row.record)
    measured = value if not mark else None
    memory = row.record.counters.memory
    is_exact = memory is not None and memory.peak_allocated_bytes is not None
    has_tick = measured is not None and (is_exact or measured >= _SMALL_PROCESS)
    return Bar(
        names=(str(cell.batch_size), cell.precision.value, *([runs[row.run]] if any(runs) else [])),
        parts=tuple(
            Part(name=name, color=color, value=getattr(predicted, field), text=format_bytes(getattr(predicted, field)))
            for name, field, color in CAUSES
            if getattr(predicted, field)
        ),
        mark=measured if has_tick else None,
        mark_text=f"measured {format_bytes(measured)}" if has_tick else "",
        figures=(format_bytes(predicted.total_bytes), format_bytes(measured)),
    )
