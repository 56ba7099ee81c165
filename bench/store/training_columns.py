"""The columns of `epochs` and `classes`, the tables of a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.core.training import ClassScore, Epoch, Part, Training
from bench.store.column import Column


@dataclass(frozen=True, slots=True)
class EpochRow:
    """What one row of `epochs` is read from."""

    training: Training
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class ClassRow:
    """What one row of `classes` is read from."""

    training: Training
    score: ClassScore


def epoch_rows(trainings: tuple[Training, ...]) -> list[EpochRow]:
    """Make one row per training and finished epoch."""
    return [EpochRow(training, epoch) for training in trainings if training.run for epoch in training.run.epochs]


def class_rows(trainings: tuple[Training, ...]) -> list[ClassRow]:
    """Make one row per training and class of the data."""
    return [
        ClassRow(training, score)
        for training in trainings
        if training.run and training.run.classification
        for score in training.run.classification.scores
    ]


def _plan(name: str) -> Callable[[Any], Any]:
    return lambda row: getattr(row.training.plan, name)


def _part(part: Part) -> Callable[[EpochRow], float]:
    return lambda row: row.epoch.part_seconds(part)


def _epoch(name: str) -> Callable[[EpochRow], Any]:
    return lambda row: getattr(row.epoch, name)


def _score(name: str) -> Callable[[ClassRow], Any]:
    return lambda row: getattr(row.score, name)


_WHICH = (
    Column("training_key", "string", "", "the training's key: the name of its file", lambda r: r.training.plan.key),
    Column("model", "string", "", "model spec as typed", _plan("model")),
    Column("data", "string", "", "data as typed", _plan("data")),
)
_PART_MEANINGS = {
    Part.DATA: "waiting for batches, the start of the loader's workers included",
    Part.COPY: "copying batches to the device",
    Part.FORWARD: "forward phase",
    Part.LOSS: "loss phase",
    Part.BACKWARD: "backward phase",
    Part.OPTIMIZER: "optimizer phase, dropping the gradients included",
    Part.OTHER: "metrics, progress, Python between steps",
}

EPOCHS = (
    *_WHICH,
    Column("batch_size", "Int64", "examples", "examples per step", _plan("batch_size")),
    Column("workers", "Int64", "processes", "that prepare batches; 0 is the training process", _plan("workers")),
    Column("device", "string", "", "`cpu` or `cuda:N`", _plan("device")),
    Column("precision", "string", "", "`fp32`, `tf32`, `bf16-amp`, `fp16-amp`, `bf16`", _plan("precision")),
    Column("seed", "Int64", "", "seed of weights, order, augmentation and dropout", _plan("seed")),
    Column("epoch", "Int64", "", "from 1", lambda r: r.epoch.epoch),
    Column("steps", "Int64", "steps", "training steps", lambda r: len(r.epoch.examples)),
    Column("examples", "Int64", "examples", "examples trained on", lambda r: sum(r.epoch.examples)),
    Column("train_loss", "Float64", "nats", "mean, each as its step came, in train mode", lambda r: r.epoch.train_loss),
    Column(
        "train_accuracy_fraction", "Float64", "fraction", "likewise, share that was right", _epoch("train_accuracy")
    ),
    Column("test_loss", "Float64", "nats", "mean over the test set after the epoch", _epoch("test_loss")),
    Column(
        "test_accuracy_fraction", "Float64", "fraction", "share of the test set that is right", _epoch("test_accuracy")
    ),
    Column("train_seconds", "Float64", "s", "wall time of the epoch's training", _epoch("seconds")),
    *(
        Column(f"{part.value}_seconds", "Float64", "s", meaning, _part(part))
        for part, meaning in _PART_MEANINGS.items()
    ),
    Column("part_sum_seconds", "Float64", "s", "sum of these parts", _epoch("part_sum_seconds")),
    Column("gap_fraction", "Float64", "fraction", "1 - sum of parts / wall time", _epoch("gap_fraction")),
    Column("examples_per_second", "Float64", "examples/s", "training throughput", _epoch("examples_per_second")),
    Column("evaluation_seconds", "Float64", "s", "wall time of the evaluation", _epoch("evaluation_seconds")),
    Column("checkpoint_seconds", "Float64", "s", "writing checkpoints", _epoch("checkpoint_seconds")),
    Column("clock", "string", "", "of the parts: `host` or `device` (events)", _epoch("clock")),
    Column("interruptions", "Int64", "", "times it was taken up within the epoch", _epoch("interruptions")),
)

CLASSES = (
    *_WHICH,
    Column("class", "string", "", "true class", lambda r: r.score.name),
    Column(
        "precision",
        "Float64",
        "fraction",
        "right share of the predictions of this class, if any",
        _score("precision"),
    ),
    Column("recall", "Float64", "fraction", "of this class's examples, share that is found", _score("recall")),
    Column("f1", "Float64", "fraction", "harmonic mean of precision and recall", _score("f1")),
    Column("support", "Int64", "examples", "test examples of this class", _score("support")),
)
