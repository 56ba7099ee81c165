"""TensorBoard and MLflow read back what was written for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.core.record import Outcome
from bench.report import formats
from tests.report.formats.runs import HOSTILE, RUN, UNMEASURED, hostile_run

FEW = replace(RUN, records=(*RUN.records[:2], *RUN.unmeasured))  # MLflow writes a file per figure


def write(name: str, folder: Path, run=RUN) -> None:
    pytest.importorskip(name)
    formats.load_folder(name).write(run, folder)


def test_tensorboard_reads_a_curve_of_steps_the_figures_and_the_axes(tmp_path: Path) -> None:
    write("tensorboard", tmp_path)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    one = RUN.measured[0]
    folders = {path.name.rpartition(".")[2]: path for path in (tmp_path / RUN.id).iterdir()}
    assert len(folders) == len(RUN.measured)
    read = EventAccumulator(str(folders[one.record.cell.key[:6]])).Reload()
    assert [event.value for event in read.Scalars("steps/seconds")] == pytest.approx(list(one.steps))
    assert read.Scalars("step_seconds")[0].value == pytest.approx(one.seconds)
    assert one.record.cell.id in read.Tensors("about")[0].tensor_proto.string_val[0].decode()
    (content,) = read.PluginTagToContent("hparams").values()
    axes = HParamsPluginData.FromString(content).session_start_info.hparams
    assert axes["batch_size"].string_value == str(one.record.cell.batch_size)


def test_mlflow_reads_a_run_per_cell_with_failures_that_have_no_metric(tmp_path: Path) -> None:
    write("mlflow", tmp_path, FEW)
    write("mlflow", tmp_path, FEW)  # beside what is there
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=tmp_path.as_uri())
    experiment = client.get_experiment_by_name("stepbench").experiment_id
    runs = client.search_runs([experiment], "params.model LIKE '%'", max_results=500)
    assert len(runs) == 2 * len(FEW.records)
    found = {run.info.run_name: run for run in runs}
    assert {name for name, run in found.items() if not run.data.metrics} == UNMEASURED
    statuses = {found[record.cell.id].info.status: record.outcome for record in FEW.unmeasured}
    assert statuses == {"FAILED": Outcome.OUT_OF_MEMORY, "FINISHED": Outcome.SKIPPED}
    one = RUN.measured[0]
    run = found[one.record.cell.id]
    assert run.data.params["batch_size"] == str(one.record.cell.batch_size)
    assert run.data.metrics["step_seconds"] == one.seconds
    raw = client.get_metric_history(run.info.run_id, "step_seconds_raw")
    assert sorted((point.step, point.value) for point in raw) == list(enumerate(one.steps))


@pytest.mark.parametrize("name", formats.FOLDERS)
def test_hostile_names_stay_below_the_folder(name: str, tmp_path: Path) -> None:
    write(name, tmp_path / "inside", hostile_run())
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]
    assert HOSTILE  # the run is made of it
