from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest

from bench.core.jsonio import from_json, to_json
from bench.core.training import TRAINING_SCHEMA, PipelinePoint, Training, TrainingPlan
from bench.report.files import frame_of, write_tables
from bench.store.cases import discard, read_trainings, write_case
from bench.store.runs import RunFolder, RunInfo
from bench.tables.catalog import TRAINING_COLUMNS
from tests.records import STARTED_AT
from tests.trainings import make_epoch, make_point, make_training


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT))


def test_trainings_and_points_come_back_from_json() -> None:
    assert from_json(Training, json.loads(json.dumps(to_json(make_training())))) == make_training()
    assert from_json(PipelinePoint, json.loads(json.dumps(to_json(make_point())))) == make_point()


def test_a_training_comes_back_from_disk(folder) -> None:
    path = write_case(folder, make_training())
    assert path.name == f"{make_training().plan.key}.json"
    assert read_trainings(folder) == ((make_training(),), ())


def test_a_file_that_cannot_be_read_is_a_problem_beside_the_others(folder) -> None:
    path = write_case(folder, make_training())
    path.with_name("truncated.json").write_text(path.read_text()[:100])
    newer = json.loads(path.read_text()) | {"schema": TRAINING_SCHEMA + 1}
    path.with_name("newer.json").write_text(json.dumps(newer))
    trainings, problems = read_trainings(folder)
    assert trainings == (make_training(),)
    assert sorted("newer stepbench" in str(problem) for problem in problems) == [False, True]


def test_a_key_names_the_plan_and_leaves_defaults_out() -> None:
    plan = TrainingPlan(model="mlp")
    assert plan.key == TrainingPlan(model="mlp", epochs=5, optimizer="adam").key
    assert len({plan.key, replace(plan, seed=1).key, replace(plan, optimizer=None).key}) == 3


def test_the_table_of_epochs_has_a_row_per_epoch_and_its_parts() -> None:
    frame = frame_of("epochs", [make_training()])
    assert list(frame["epoch"]) == [1, 2]
    row = frame.iloc[0]
    assert row["train_loss"] == pytest.approx((2.0 * 40 + 0.5 * 20) / 60)
    assert row["train_accuracy_fraction"] == pytest.approx(25 / 60)
    assert row["data_seconds"] == pytest.approx(0.021) and row["backward_seconds"] == pytest.approx(0.1)
    assert row["part_sum_seconds"] == pytest.approx(0.196) and row["gap_fraction"] == pytest.approx(0.02)
    assert row["examples_per_second"] == pytest.approx(60 / 0.2)


def test_a_loss_that_is_not_finite_is_na() -> None:
    training = make_training()
    lost = replace(training, run=replace(training.run, epochs=(make_epoch(losses=(2.0, None), test_loss=None),)))
    row = frame_of("epochs", [lost]).iloc[0]
    assert pd.isna(row["train_loss"]) and pd.isna(row["test_loss"])


@pytest.mark.parametrize("table", TRAINING_COLUMNS)
def test_the_tables_come_back_from_csv_and_parquet(folder, table) -> None:
    write_tables(folder, dict.fromkeys(TRAINING_COLUMNS, (make_training(),)))
    frame = frame_of(table, [make_training()])
    dtypes = {column.name: column.dtype for column in TRAINING_COLUMNS[table]}
    pd.testing.assert_frame_equal(pd.read_parquet(folder.tables_path / f"{table}.parquet"), frame)
    pd.testing.assert_frame_equal(pd.read_csv(folder.tables_path / f"{table}.csv", dtype=dtypes), frame)


def test_a_folder_is_taken_back_only_where_nothing_was_measured(tmp_path, folder) -> None:
    other = RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT))
    write_case(other, make_training())
    for each in (folder, other):
        discard(each)
    assert not folder.path.exists() and (other.path / "run.json").is_file()
