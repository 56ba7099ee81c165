"""The environment: differences between the runs, all fields, and the state of the machine during the measurement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.core.environment import MachineState
from bench.report.html.contract import ReportData, Section
from bench.store.stored import StoredRun
from bench.tables.document import Rows
from bench.tables.figures import percent, significant, words
from bench.tables.machine import environment_texts
from bench.tables.table import Column

_MISSING = "-"
_STATE: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("load_1m", "load, 1 min", significant),
    ("other_busy_cores", "cores busy with other work", lambda value: f"{value:.2f}"),
    ("steal_fraction", "time taken by the hypervisor %", lambda value: percent(value)),
    ("involuntary_switches", "preemptions", lambda value: f"{value:,.0f}"),
    ("cpu_mhz", "CPU clock MHz", lambda value: f"{value:.0f}"),
    ("gpu_clock_mhz", "GPU clock MHz", lambda value: f"{value:.0f}"),
    ("gpu_temperature_celsius", "GPU temperature °C", lambda value: f"{value:.0f}"),
)


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Make the tables; with a field once per run."""
    runs = [run for run in data.runs if run.environment is not None]
    if not runs:
        return None
    texts = [environment_texts(run.environment) for run in runs if run.environment is not None]
    names = list(dict.fromkeys(field for text in texts for field in text))
    differing = [field for field in names if len({text.get(field, _MISSING) for text in texts}) > 1]
    prints = {run.environment.fingerprint for run in runs if run.environment is not None}
    return {
        "is_one": len(prints) == 1,
        "count": len(runs),
        "differing": _table(runs, texts, differing, "What differs between the runs") if differing else None,
        "table": _table(runs, texts, names, "Environment", set(differing)),
        "state": _state(runs),
    }


SECTION = Section(anchor="environment", title="Environment", build=build)


def _table(
    runs: Sequence[StoredRun],
    texts: Sequence[Mapping[str, str]],
    names: Sequence[str],
    caption: str,
    differing: set[str] | None = None,
) -> Rows:
    columns = [
        Column(name="field", cells=tuple(words(name.replace("_", " ")) for name in names), right=False),
        *(
            Column(name=words(run.id), cells=tuple(text.get(name, _MISSING) for name in names), right=False)
            for run, text in zip(runs, texts, strict=True)
        ),
    ]
    styles = {row: "yellow" for row, name in enumerate(names) if name in (differing or ())}
    return Rows(columns=columns, caption=caption, styles=styles)


def _state(runs: Sequence[StoredRun]) -> Rows | None:
    """Return the range of each reading over the cells of a run."""
    states = [[record.state for record in run.records if record.state is not None] for run in runs]
    rows = [
        (label, [_range(found, field, write) for found in states])
        for field, label, write in _STATE
        if any(getattr(state, field) is not None for found in states for state in found)
    ]
    if not rows:
        return None
    columns = [
        Column(name="reading", cells=tuple(label for label, _ in rows), right=False),
        *(
            Column(name=words(run.id), cells=tuple(texts[index] for _, texts in rows), right=False)
            for index, run in enumerate(runs)
        ),
    ]
    caption = "State of the machine while it was measured, lowest to highest over the cells"
    return Rows(columns=columns, caption=caption)


def _range(states: Sequence[MachineState], field: str, write: Callable[[float], str]) -> str:
    values = [value for state in states if (value := getattr(state, field)) is not None]
    if not values:
        return _MISSING
    low, high = write(min(values)), write(max(values))
    return low if low == high else f"{low} to {high}"
