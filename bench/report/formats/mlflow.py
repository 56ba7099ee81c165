"""A file store of MLflow: one of its runs per cell, in the experiment `stepbench`.

Axes are parameters; figures are metrics, by the names of OpenMetrics, and `step_seconds_raw` has one value per timed
step. A cell that was not measured is a run that FAILED, with its reason as a tag and no metric. `mlflow ui
--backend-store-uri FOLDER` shows the store, `mlflow migrate-filestore` moves it into a database.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.core.record import Outcome, Record
from bench.core.text import plain
from bench.report.formats import Format
from bench.report.formats.openmetrics import GAUGES
from bench.store.stored import Measured, StoredRun, doubts
from bench.suite.axes import AXES

EXPERIMENT = "stepbench"
_LONGEST = 500
_BATCH = 1000  # metrics of one call at most, as MLflow has it


def to_mlflow(run: StoredRun, folder: Path) -> None:
    """Write a run's cells into the file store of a folder, beside its content."""
    # MLflow wants this confirmed, because it prefers a database; an export is a folder of files.
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # else it reports its use to its makers
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=folder.resolve().as_uri())
    known = client.get_experiment_by_name(EXPERIMENT)
    experiment = client.create_experiment(EXPERIMENT) if known is None else known.experiment_id
    measured = {one.record.cell.key: one for one in run.measured}
    for record in run.records:
        _write(client, experiment, run, record, measured.get(record.cell.key))


def _write(client: Any, experiment: str, run: StoredRun, record: Record, one: Measured | None) -> None:
    from mlflow.entities import Metric, Param

    began = round(1000 * datetime.fromisoformat(record.started_at).timestamp())
    tags = {
        "stepbench.run": run.id,
        "stepbench.key": record.cell.key,
        "stepbench.outcome": record.outcome.value,
        "stepbench.doubts": ", ".join(doubts(record)),
        "stepbench.reason": plain(record.reason or "", _LONGEST),
        "stepbench.fingerprint": (record.environment.fingerprint if record.environment else None) or "",
    }
    name = plain(record.cell.id, _LONGEST)
    made = client.create_run(experiment, start_time=began, tags={k: v for k, v in tags.items() if v}, run_name=name)
    axes = [Param(name, plain(axis.words(getattr(record.cell, name)), _LONGEST)) for name, axis in AXES.items()]
    client.log_batch(made.info.run_id, params=axes)
    metrics = [] if one is None else [Metric(name, value, began, 0) for name, value in _figures(one)]
    metrics += [] if one is None else [Metric("step_seconds_raw", s, began, i) for i, s in enumerate(one.steps)]
    for first in range(0, len(metrics), _BATCH):
        client.log_batch(made.info.run_id, metrics=metrics[first : first + _BATCH])
    ended = began + round(1000 * record.duration_seconds)
    is_good = record.outcome in (Outcome.OK, Outcome.SKIPPED)
    client.set_terminated(made.info.run_id, status="FINISHED" if is_good else "FAILED", end_time=ended)


def _figures(one: Measured) -> list[tuple[str, float]]:
    values = ((name, column.get(one)) for name, column in GAUGES)
    return [(name, float(value)) for name, value in values if value is not None]


FORMAT = Format(write_folder=to_mlflow, holds_failures=True)
