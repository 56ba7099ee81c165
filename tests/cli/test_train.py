"""`bench train` and `bench pipeline` through the real command line and real processes."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from bench.cli import run_command
from bench.core.errors import ExitCode
from bench.core.jsonio import from_json
from bench.core.training import Part, PipelinePoint, Training
from tests.measure.scenarios.small import MODEL, small_data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_data(tmp_path_factory.mktemp("digits"))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def bench(capsys, *arguments: str) -> tuple[int, str, str]:
    code = run_command(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_training_is_shown_stored_and_shown_again(capsys, data, tmp_path) -> None:
    small = ("--epochs", "2", "-b", "24", "--threads", "1", "--target-accuracy", "0")
    code, out, err = bench(capsys, "train", MODEL, "--data", data, *small)
    assert code == ExitCode.FINE, err
    assert err.count("of the test set right") == 2 and "Traceback" not in err
    assert max(map(len, out.splitlines())) <= 80 or "Results:" in max(out.splitlines(), key=len)
    words = " ".join(out.split())
    for part in ("examples", "sum of parts", "precision", "true 0 1 2", "target of 0.0 % was reached with epoch 1"):
        assert part in words
    (folder,) = (tmp_path / "results").iterdir()
    epochs = pd.read_parquet(folder / "tables" / "epochs.parquet")
    assert list(epochs["examples"]) == [72, 72] and list(epochs["steps"]) == [3, 3]
    parts = epochs[[f"{part.value}_seconds" for part in Part]].sum(axis=1)
    assert list(parts) == pytest.approx(list(epochs["part_sum_seconds"]))
    classes = pd.read_csv(folder / "tables" / "classes.csv", dtype={"class": "string"})
    assert list(classes["class"]) == list("0123456789") and classes["support"].sum() == 30

    code, again, _ = bench(capsys, "train", "--resume", "latest", "--format", "json")
    document = json.loads(again)
    assert code == ExitCode.FINE and document["command"] == "train"
    training = from_json(Training, document["training"])
    assert training == from_json(Training, json.loads(next(folder.glob("training/*.json")).read_text()))
    assert training.plan.batch_size == 24


def test_pipelines_are_compared_by_workers(capsys, data) -> None:
    arguments = ("--workers", "0,1", "-b", "8", "--prefetch", "1", "--budget", "10ms", "--threads", "1")
    code, out, err = bench(capsys, "pipeline", MODEL, "--data", data, *arguments, "--format", "json")
    assert code == ExitCode.FINE, err
    points = [from_json(PipelinePoint, point) for point in json.loads(out)["points"]]
    assert [(p.plan.workers, p.plan.prefetch) for p in points] == [(0, None), (1, 1)]
    assert all(point.wait_fraction > 0.1 and point.advice for point in points)  # drawn images, a model of 6 k weights


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name a model to train"),
        (("mlpp",), "Did you mean 'mlp'?"),
        (("mlp", "--optimizer", "adan"), "Did you mean 'adam'?"),
        (("mlp", "--precision", "fp9"), "precision 'fp9' is unknown"),
        (("mlp", "--checkpoint", "often"), "--checkpoint is 'epoch', 'never' or a number of steps"),
        (("mlp", "--checkpoint", "0"), "--checkpoint is 'epoch', 'never' or a number of steps"),
        (("mlp", "--prefetch", "2"), "--prefetch is for --workers"),
        (("mlp", "--pin-memory"), "the device is cpu"),
        (("mlp", "--epochs", "0"), "--epochs"),
        (("mlp", "--executor", "cloud"), "executor 'cloud' is unknown"),
        (("--resume", "latest", "--epochs", "9"), "leave out epochs"),
        (("mlp", "--resume", "latest"), "leave out mlp"),
        (("--resume", "latest"), "no runs in results"),
    ],
)
def test_bad_input_of_train_is_one_line_and_exit_code_2(capsys, arguments, words) -> None:
    code, out, err = bench(capsys, "train", *arguments)
    assert code == ExitCode.USAGE
    assert words in err and err.count("\n") == 1 and "Traceback" not in out + err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mlp", "--workers", "two"), "--workers takes whole numbers from 0 on"),
        (("mlp", "-b", "0"), "-b takes whole numbers from 1 on"),
        (("mlp", "--pin-memory", "yes"), "--pin-memory takes off, on or both"),
        (("mlp", "--budget", "soon"), "--budget: 'soon' is not a duration"),
        (("mlpp",), "Did you mean 'mlp'?"),
    ],
)
def test_bad_input_of_pipeline_is_one_line_and_exit_code_2(capsys, arguments, words) -> None:
    code, out, err = bench(capsys, "pipeline", *arguments)
    assert code == ExitCode.USAGE
    assert words in err and err.count("\n") == 1 and "Traceback" not in out + err
