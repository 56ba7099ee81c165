"""OpenMetrics text: one gauge per figure, labelled with the cell; for Prometheus' textfile collector or Pushgateway.

A figure that was not measured has no sample. How a cell ended is a state set, in which 0 means "not this outcome".
There are no timestamps, which collectors of files refuse; when the run started is a metric.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime

from bench.core.environment import Environment
from bench.core.record import Outcome, Record
from bench.core.text import plain
from bench.report.formats import Format
from bench.store.stored import StoredRun, doubts
from bench.tables.cells import CELLS

PREFIX = "stepbench"


_UNITS = ("seconds", "bytes", "joules")  # OpenMetrics wants a unit as the end of the name
GAUGES = tuple((column.exports["openmetrics"], column) for column in CELLS if "openmetrics" in column.exports)


def to_openmetrics(run: StoredRun) -> str:
    """Write a run."""
    measured = run.measured
    lines = [*_info(run)]
    for name, column in GAUGES:
        samples = [
            _sample(f"{PREFIX}_{name}", _labels(one.record), value)
            for one in measured
            if (value := column.get(one)) is not None
        ]
        if samples:
            unit = next((unit for unit in _UNITS if name.endswith(f"_{unit}")), "")
            lines += [*_head(name, "gauge", f"{column.meaning[0].upper()}{column.meaning[1:]}.", unit), *samples]
    lines += _doubts(run.records)
    lines += _outcomes(run.records)
    return "\n".join([*lines, "# EOF", ""])


def _info(run: StoredRun) -> Iterator[str]:
    yield from _head("run", "info", "The run, and where it was measured.")
    labels = {"run": run.id, **_environment(run.environment)}
    yield _sample(f"{PREFIX}_run_info", labels, 1)
    yield from _head("run_started_timestamp_seconds", "gauge", "When the run started.", "seconds")
    started = datetime.fromisoformat(run.info.started_at).timestamp()
    yield _sample(f"{PREFIX}_run_started_timestamp_seconds", {"run": run.id}, started)


def _environment(environment: Environment | None) -> dict[str, str]:
    if environment is None:
        return {}
    facts = {
        "fingerprint": environment.fingerprint,
        "cpu": environment.cpu,
        "gpu": environment.gpu,
        "torch": environment.torch,
        "stepbench": environment.stepbench,
        "commit": environment.git_commit,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _doubts(records: tuple[Record, ...]) -> Iterator[str]:
    samples = [
        _sample(f"{PREFIX}_doubt", {**_labels(record), "kind": kind}, 1)
        for record in records
        for kind in doubts(record)
    ]
    if samples:
        yield from _head("doubt", "gauge", "1 for each doubt about the figures of a cell.")
        yield from samples


def _outcomes(records: tuple[Record, ...]) -> Iterator[str]:
    if not records:
        return
    yield from _head("outcome", "stateset", "How each cell ended.")
    for record in records:
        for outcome in Outcome:
            labels = {**_labels(record), f"{PREFIX}_outcome": outcome.value}
            yield _sample(f"{PREFIX}_outcome", labels, int(record.outcome is outcome))


def _labels(record: Record) -> dict[str, str]:
    cell = record.cell
    return {
        "cell": cell.id,
        "model": cell.model,
        "mode": cell.mode.value,
        "batch_size": str(cell.batch_size),
        "device": cell.device,
        "precision": cell.precision.value,
    }


def _head(name: str, kind: str, meaning: str, unit: str = "") -> Iterator[str]:
    yield f"# TYPE {PREFIX}_{name} {kind}"
    if unit:
        yield f"# UNIT {PREFIX}_{name} {unit}"
    yield f"# HELP {PREFIX}_{name} {_escaped(meaning)}"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    assert math.isfinite(value)  # what is not is None in a record
    inside = ",".join(f'{key}="{_escaped(plain(text))}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


FORMAT = Format(write=lambda run, _: to_openmetrics(run), holds_failures=True)
