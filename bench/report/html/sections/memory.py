"""Memory by cause: the parts of the predicted peak, per batch size and precision, beside the measured peak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.core.units import format_bytes
from bench.report.html.bars import Bar, Part, bar_group
from bench.report.html.contract import ReportData, Row, Section
from bench.report.html.groups import bar_groups, bar_keys, bar_names, run_names
from bench.tables.cell_values import peak_bytes

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

_SMALL_PROCESS = 64 * 1024**2
"""Growth of a process below this is mostly memory that libraries and the allocator keep: it checks no prediction."""


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Make a group of bars per model, each on its own scale."""
    groups, notes = bar_groups(data, lambda row: row.record.counters.predicted_peak is not None)
    if not groups:
        return None
    runs = run_names(data)
    methods = {
        row.record.counters.memory.method for group in groups for row in group.rows if row.record.counters.memory
    }
    bars = [_bar(row, runs) for group in groups for row in group.rows]
    small = sum(bar.mark is None and bar.figures[1] != format_bytes(None) for bar in bars)
    return {
        "small": f"{small} of {len(bars)}" if small else "",
        "limit": format_bytes(_SMALL_PROCESS),
        "keys": bar_keys(runs),
        "groups": [bar_group(group.title, [_bar(row, runs) for row in group.rows]) for group in groups],
        "legend": [
            {"name": name, "color": color, "dash": 0}
            for name, field, color in CAUSES
            if field != "workspace_bytes" or any(part.name == name for bar in bars for part in bar.parts)
        ],
        "methods": sorted(methods - {""}),
        "notes": notes,
    }


SECTION = Section(anchor="memory", title="Memory by cause", build=build)


def _bar(row: Row, runs: list[str]) -> Bar:
    predicted = row.record.counters.predicted_peak
    assert predicted is not None
    value, mark = peak_bytes(row.record)
    measured = value if not mark else None
    memory = row.record.counters.memory
    is_exact = memory is not None and memory.peak_allocated_bytes is not None
    has_tick = measured is not None and (is_exact or measured >= _SMALL_PROCESS)
    return Bar(
        names=bar_names(row, runs),
        parts=tuple(
            Part(name=name, color=color, value=getattr(predicted, field), text=format_bytes(getattr(predicted, field)))
            for name, field, color in CAUSES
            if getattr(predicted, field)
        ),
        mark=measured if has_tick else None,
        mark_text=f"measured {format_bytes(measured)}" if has_tick else "",
        figures=(format_bytes(predicted.total_bytes), format_bytes(measured)),
    )
