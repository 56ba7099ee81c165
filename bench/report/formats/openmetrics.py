"""OpenMetrics text: one gauge per figure, labelled with the cell; for Prometheus' textfile collector or Pushgateway.

A figure that was not measured has no sample. How a cell ended is a state set, in which 0 means "not this outcome".
There are no timestamps, which collectors of files refuse; when the run started is a metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from bench.core.environment import Environment
from bench.core.record import Outcome, Record
from bench.core.text import plain
from bench.store.stored import Measured, StoredRun, doubts

PREFIX = "stepbench"


@dataclass(frozen=True, slots=True)
class _Gauge:
    """One metric family: name without the prefix, unit (the end of the name), help, and where it is read."""

    name: str
    unit: str
    meaning: str
    read: Callable[[Measured], float | None]


def _end(name: str) -> Callable[[Measured], float | None]:
    return lambda one: getattr(one.summary.step, name)


def _memory(name: str) -> Callable[[Measured], float | None]:
    return lambda one: None if one.record.counters.memory is None else getattr(one.record.counters.memory, name)


GAUGES = (
    _Gauge("step_seconds", "seconds", "Latency: median of the whole step, measured unsplit.", lambda one: one.seconds),
    _Gauge("step_low_seconds", "seconds", "Lower end of the 95 % interval of the median.", _end("low")),
    _Gauge("step_high_seconds", "seconds", "Upper end of the 95 % interval of the median.", _end("high")),
    _Gauge("steps", "", "Steps that were timed.", _end("n")),
    _Gauge("steps_effective", "", "Independent values they are worth.", _end("n_effective")),
    _Gauge("examples_per_second", "", "Throughput: batch size / step.", lambda one: one.summary.examples_per_second),
    _Gauge("tokens_per_second", "", "Throughput of a language model.", lambda one: one.summary.tokens_per_second),
    _Gauge("flops", "", "FLOPs of one step; 1 MAC = 2.", lambda one: one.summary.flops_total),
    _Gauge("parameters", "", "Elements of all parameters.", lambda one: one.record.counters.parameters),
    _Gauge("dispatches", "", "Operations one step dispatches.", lambda one: one.record.counters.dispatch_count),
    _Gauge("peak_allocated_bytes", "bytes", "Peak of live tensors on the device.", _memory("peak_allocated_bytes")),
    _Gauge("step_resident_bytes", "bytes", "Peak growth of the process.", _memory("step_resident_bytes")),
    _Gauge(
        "predicted_peak_bytes",
        "bytes",
        "Predicted peak of live tensors.",
        lambda one: None if (peak := one.record.counters.predicted_peak) is None else peak.total_bytes,
    ),
    _Gauge("energy_joules", "joules", "Energy of one step.", lambda one: one.record.counters.energy_joules),
)


def to_openmetrics(run: StoredRun) -> str:
    """Write a run."""
    measured = run.measured
    lines = [*_info(run)]
    for gauge in GAUGES:
        samples = [
            _sample(f"{PREFIX}_{gauge.name}", _labels(one.record), value)
            for one in measured
            if (value := gauge.read(one)) is not None
        ]
        if samples:
            lines += [*_head(gauge.name, "gauge", gauge.meaning, gauge.unit), *samples]
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
