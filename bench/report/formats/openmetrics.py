"""OpenMetrics text: one gauge per figure, labelled with the cell; for Prometheus' textfile collector or Pushgateway.

A figure that was not measured has no sample. How a cell ended is a state set, in which 0 means "not this outcome".
There are no timestamps, which collectors of files refuse; when the run started is a metric.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING

from bench.core.environment import Environment
from bench.core.record import Outcome, Record
from bench.core.text import plain
from bench.report.formats import Format
from bench.store.stored import StoredRun, doubts
from bench.tables.cells import CELLS
from bench.tables.columns import SHORT_AXES

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

PREFIX = "stepbench"


_UNITS = ("seconds", "bytes", "joules")  # OpenMetrics wants a unit as the end of the name
GAUGES = tuple((column.exports["openmetrics"], column) for column in CELLS if "openmetrics" in column.exports)


def to_openmetrics(run: StoredRun) -> str:
    """Write a run."""
    from prometheus_client.openmetrics.exposition import generate_latest  # costs 0.1 s, and starts nothing

    families = [family for family in _families(run) if family.samples]
    written: bytes = generate_latest(SimpleNamespace(collect=lambda: families))  # type: ignore[no-untyped-call]
    return written.decode()


def _families(run: StoredRun) -> Iterator[Metric]:
    yield _family(
        "run", "info", "The run, and where it was measured.", [({"run": run.id, **_environment(run.environment)}, 1)]
    )
    started = datetime.fromisoformat(run.info.started_at).timestamp()
    yield _family("run_started_timestamp_seconds", "gauge", "When the run started.", [({"run": run.id}, started)])
    for name, column in GAUGES:
        values = [(_labels(one.record), value) for one in run.measured if (value := column.get(one)) is not None]
        yield _family(name, "gauge", f"{column.meaning[0].upper()}{column.meaning[1:]}.", values)
    doubted = [({**_labels(record), "kind": kind}, 1) for record in run.records for kind in doubts(record)]
    yield _family("doubt", "gauge", "1 for each doubt about the figures of a cell.", doubted)
    outcomes = [
        ({**_labels(record), f"{PREFIX}_outcome": outcome.value}, int(record.outcome is outcome))
        for record in run.records
        for outcome in Outcome
    ]
    yield _family("outcome", "stateset", "How each cell ended.", outcomes)


def _environment(environment: Environment | None) -> dict[str, str]:
    if environment is None:
        return {}
    facts = {name: getattr(environment, name) for name in ("fingerprint", "cpu", "gpu", "torch", "stepbench")}
    facts["commit"] = environment.git_commit
    return {name: value for name, value in facts.items() if value is not None}


def _labels(record: Record) -> dict[str, str]:
    return {"cell": record.cell.id, **{axis: str(getattr(record.cell, axis)) for axis in SHORT_AXES}}


def _family(name: str, kind: str, meaning: str, samples: Sequence[tuple[Mapping[str, str], float]]) -> Metric:
    from prometheus_client.metrics_core import Metric

    unit = next((unit for unit in _UNITS if name.endswith(f"_{unit}")), "")
    family = Metric(f"{PREFIX}_{name}", meaning, kind, unit)
    for labels, value in samples:
        assert math.isfinite(value)  # a record holds None instead
        texts = {key: plain(text) for key, text in labels.items()}
        family.add_sample(f"{PREFIX}_{name}{'_info' if kind == 'info' else ''}", texts, value)
    return family


FORMAT = Format(write=lambda run, _: to_openmetrics(run), holds_failures=True)
