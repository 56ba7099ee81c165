"""A training in a real fresh process: killed, stopped, taken up again, refused."""

from __future__ import annotations

import dataclasses
import re

import pytest

from bench.core.errors import StoreError, UsageError
from bench.core.record import Outcome
from bench.core.training import Training, TrainingPlan
from bench.runner.training import Stop, resume_training, train
from bench.store.cases import read_trainings
from bench.store.runs import RunFolder, RunInfo, run_paths
from tests.measure.scenarios.small import small_data
from tests.records import STARTED_AT

DIES = """
import os, pathlib, signal
import torch
from torch import nn

class Dies(nn.Module):
    '''Kills its process in the ninth training step, once, as a power cut would.'''

    def __init__(self, flag: str):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 10))
        self.flag, self.steps = pathlib.Path(flag), 0

    def forward(self, x):
        self.steps += self.training
        if self.steps == 9 and not self.flag.exists():
            self.flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.layers(x)
"""

HANGS = """
import pathlib, time
from torch import nn

class Hangs(nn.Module):
    '''Takes 0.4 s for a training step, and for ever for the 13th, once.'''

    def __init__(self, flag: str):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        self.flag, self.steps = pathlib.Path(flag), 0

    def forward(self, x):
        self.steps += self.training
        if self.training:
            time.sleep(0.4)
        if self.steps == 13 and not self.flag.exists():
            self.flag.touch()
            time.sleep(3600)
        return self.layers(x)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_data(tmp_path_factory.mktemp("digits"))


@pytest.fixture
def plan(tmp_path, monkeypatch, data) -> TrainingPlan:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dies.py").write_text(DIES)
    (tmp_path / "hangs.py").write_text(HANGS)
    return TrainingPlan(
        model="dies.py:Dies@flag=died",
        data=data,
        input_shape=(1, 8, 8),
        epochs=3,
        batch_size=16,
        checkpoint_steps=3,
        threads=1,
    )


def losses(training: Training) -> list:
    assert training.run is not None
    return [loss for epoch in training.run.epochs for loss in epoch.losses]


@pytest.mark.slow
def test_a_resumed_training_reaches_the_undisturbed_loss(plan, tmp_path) -> None:
    killed = train(plan)
    assert killed.training.outcome is Outcome.KILLED
    assert killed.training.reason == "the worker was killed by SIGKILL"
    assert killed.checkpoint is not None and killed.checkpoint.is_file()

    stop = Stop()
    stopped = resume_training("latest", observer=lambda _: stop.request(2), stop=stop)
    assert stopped.training.outcome is Outcome.KILLED
    assert re.match(r"stopped in epoch \d after step", stopped.training.reason), stopped.training.reason

    resumed = resume_training(str(killed.folder))
    assert resumed.training.outcome is Outcome.OK
    assert resumed.training.run.resumptions == 2
    assert resumed.checkpoint is None and not list(killed.folder.rglob("*.ckpt"))
    alone = train(plan)  # the model dies only once
    assert losses(resumed.training) == losses(alone.training)
    assert resumed.training.run.classification == alone.training.run.classification

    folder = RunFolder.open(killed.folder)
    assert len(folder.run.resumptions) == 2
    assert read_trainings(folder) == ((resumed.training,), ())
    assert "<h3>dies.py:Dies@flag=died</h3>" in (folder.path / "report.html").read_text()
    tables = {path.name for path in folder.tables_path.iterdir()}
    assert tables == {"epochs.csv", "epochs.parquet", "classes.csv", "classes.parquet", "summary.md"}
    again = resume_training(folder.path.name)
    assert again.training == resumed.training
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.slow
def test_a_training_has_no_limit_but_its_next_step_has(plan) -> None:
    hung = train(dataclasses.replace(plan, model="hangs.py:Hangs@flag=hung"), timeout_seconds=5.0)
    assert hung.training.duration_seconds > 12 * 0.4 + 5.0
    assert (hung.training.outcome, hung.training.reason) == (Outcome.TIMED_OUT, "no step ended within 5 s")
    assert hung.checkpoint is not None and hung.checkpoint.is_file()
    resumed = resume_training(str(hung.folder), timeout_seconds=5.0)
    assert resumed.training.outcome is Outcome.OK


def test_what_cannot_be_trained_leaves_no_folder(plan, tmp_path) -> None:
    with pytest.raises(UsageError, match="no MNIST files"):
        train(dataclasses.replace(plan, model="mlp", input_shape=None, data="mnist:nowhere"))
    assert run_paths(tmp_path / "results") == ()


def test_a_run_of_cells_is_no_training(tmp_path) -> None:
    folder = RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT))
    with pytest.raises(StoreError, match="is no training; resume it with `bench run --resume"):
        resume_training(folder.path.name, results=tmp_path)


def test_the_classification_report_first_asks_for_its_library(plan, monkeypatch) -> None:
    from bench.runner import training

    monkeypatch.setattr(training.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(Exception, match="extra 'train'"):
        train(plan)
