"""TensorBoard and MLflow read back what was written for them: every value, step, axis and word, of several runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.core.record import Outcome
from bench.core.text import plain
from bench.report import formats
from bench.report.formats.openmetrics import GAUGES
from bench.store.stored import Measured, StoredRun, doubts
from bench.suite.axes import AXES
from tests.records import make_record
from tests.report.formats.runs import HOSTILE, RUN, UNMEASURED, hostile_run
from tests.stored_runs import make_run

TEXT = next(record for record in RUN.records if record.tokens_per_example)
FEW = replace(RUN, records=(RUN.records[0], TEXT, *RUN.unmeasured))  # MLflow writes a file per figure
SECOND = make_run(
    id="20261124-080000-cd34ef",
    started_at=RUN.info.started_at,
    environment=RUN.environment,
    records=(replace(make_record("mlp", step=0.5), environment=RUN.environment),),
)


def write(name: str, folder: Path, *runs: StoredRun) -> None:
    pytest.importorskip(name)
    for run in runs:
        formats.load(name).write_folder(run, folder)


def figures_of(one: Measured) -> dict[str, float]:
    """Return what must be there of a cell: what was measured, and nothing else."""
    return {name: float(value) for name, column in GAUGES if (value := column.get(one)) is not None}


def axes_of(one: Any) -> dict[str, str]:
    return {name: plain(axis.words(getattr(one.cell, name)), 500) for name, axis in AXES.items()}


def test_the_figures_of_a_text_and_of_another_cell_differ() -> None:
    texts, others = (
        set(figures_of(one)) for one in sorted(FEW.measured, key=lambda o: not o.record.tokens_per_example)
    )
    assert texts - others == {"tokens_per_second", "token_seconds"}


# TensorBoard


def cells_of(folder: Path, run: StoredRun) -> Mapping[str, Any]:
    """Read what TensorBoard finds of a run's cells, by the beginning of their keys."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    paths = {path.name.rpartition(".")[2]: path for path in (folder / run.id).iterdir()}
    return {key: EventAccumulator(str(path)).Reload() for key, path in paths.items()}


def hyperparameters(read: Any) -> dict[str, str]:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    (content,) = read.PluginTagToContent("hparams").values()
    found = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: value.string_value for name, value in found.items()}


def test_tensorboard_reads_every_value_step_and_axis_of_two_runs(tmp_path: Path) -> None:
    write("tensorboard", tmp_path, RUN, SECOND)
    assert {path.name for path in tmp_path.iterdir()} == {RUN.id, SECOND.id}
    for run in (RUN, SECOND):
        cells = cells_of(tmp_path, run)
        assert len(cells) == len(run.measured)
        for one in run.measured:
            read = cells[one.record.cell.key[:6]]
            curve = [(event.step, event.value) for event in read.Scalars("steps/seconds")]
            assert curve == [(step, pytest.approx(seconds)) for step, seconds in enumerate(one.steps)]
            expected = figures_of(one)
            assert set(read.Tags()["scalars"]) == {"steps/seconds", *expected}
            for name, value in expected.items():
                assert [(e.step, e.value) for e in read.Scalars(name)] == [(0, pytest.approx(value))], name
            assert hyperparameters(read) == axes_of(one.record)
            about = read.Tensors("about")[0].tensor_proto.string_val[0].decode()
            assert all(word in about for word in (run.id, one.record.cell.id, *doubts(one.record)))


def test_tensorboard_reads_odd_names_as_they_are_shown(tmp_path: Path) -> None:
    run = hostile_run()
    write("tensorboard", tmp_path, run)
    (one,) = run.measured
    (read,) = cells_of(tmp_path, run).values()
    assert len(read.Scalars("steps/seconds")) == len(one.steps)
    assert hyperparameters(read)["model"] == plain(HOSTILE)
    assert plain(one.record.cell.id) in read.Tensors("about")[0].tensor_proto.string_val[0].decode()


# MLflow


def runs_of(folder: Path) -> list[Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=folder.resolve().as_uri())
    experiment = client.get_experiment_by_name("stepbench").experiment_id
    return list(client.search_runs([experiment], "params.model LIKE '%'", max_results=500))


def curve(folder: Path, run: Any, metric: str) -> list[tuple[int, float]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=folder.resolve().as_uri())
    return sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, metric))


def test_mlflow_reads_every_value_step_axis_and_tag_of_two_runs(tmp_path: Path) -> None:
    write("mlflow", tmp_path, FEW, SECOND)
    found = {(run.data.tags["stepbench.run"], run.data.tags["stepbench.key"]): run for run in runs_of(tmp_path)}
    assert len(found) == len(FEW.records) + len(SECOND.records)
    for stored in (FEW, SECOND):
        for one in stored.measured:
            run = found[stored.id, one.record.cell.key]
            assert run.info.run_name == one.record.cell.id
            assert run.data.metrics == {**figures_of(one), "step_seconds_raw": one.steps[-1]}
            assert curve(tmp_path, run, "step_seconds_raw") == list(enumerate(one.steps))
            assert curve(tmp_path, run, "step_seconds") == [(0, one.seconds)]
            assert run.data.params == axes_of(one.record)
            assert run.data.tags.get("stepbench.doubts", "") == ", ".join(doubts(one.record))
            assert run.data.tags["stepbench.fingerprint"] == one.record.environment.fingerprint
            assert run.info.status == "FINISHED"


def test_a_failed_cell_is_a_run_of_mlflow_with_a_reason_and_no_metric(tmp_path: Path) -> None:
    write("mlflow", tmp_path, FEW, FEW)  # beside what is there
    runs = runs_of(tmp_path)
    assert len(runs) == 2 * len(FEW.records)
    found = {run.info.run_name: run for run in runs}
    assert {name for name, run in found.items() if not run.data.metrics} == UNMEASURED
    statuses = {found[record.cell.id].info.status: record.outcome for record in FEW.unmeasured}
    assert statuses == {"FAILED": Outcome.OUT_OF_MEMORY, "FINISHED": Outcome.SKIPPED}
    for record in FEW.unmeasured:
        assert found[record.cell.id].data.tags["stepbench.reason"] == record.reason


def test_mlflow_reads_odd_names_as_they_are_shown(tmp_path: Path) -> None:
    run = hostile_run()
    write("mlflow", tmp_path, run)
    found = {one.data.tags["stepbench.key"]: one for one in runs_of(tmp_path)}
    assert set(found) == {record.cell.key for record in run.records}
    for record in run.records:
        one = found[record.cell.key]
        assert one.info.run_name == plain(record.cell.id, 500)
        assert one.data.params["model"] == plain(HOSTILE, 500)
        assert one.data.tags.get("stepbench.reason", "") == plain(record.reason or "", 500)
        assert bool(one.data.metrics) == (record.outcome is Outcome.OK)


@pytest.mark.parametrize("name", formats.FOLDERS)
def test_hostile_names_stay_below_the_folder(name: str, tmp_path: Path) -> None:
    write(name, tmp_path / "inside", hostile_run())
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]
    assert HOSTILE  # the run is made of it
