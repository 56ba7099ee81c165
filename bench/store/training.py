"""Trainings in a run's folder: `training/<key>.json`, its checkpoint beside it, and tidy tables of its epochs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from bench.core.errors import StoreError
from bench.core.training import TRAINING_SCHEMA, Training, TrainingPlan
from bench.store.atomic import make_folder, write_bytes
from bench.store.codec import from_file, to_bytes
from bench.store.migrate import Migration
from bench.store.records import RunFolder

MIGRATIONS: Mapping[int, Migration] = {}


def result_path(folder: RunFolder, plan: TrainingPlan) -> Path:
    """Say where the result of a plan lies."""
    return folder.path / "training" / f"{plan.key}.json"


def checkpoint_path(folder: RunFolder, plan: TrainingPlan) -> Path:
    """Say where its checkpoint lies."""
    return result_path(folder, plan).with_suffix(".ckpt")


def write_training(folder: RunFolder, training: Training) -> Path:
    """Put a training on disk, whole and durable; an earlier one of the same plan is replaced.

    Raises:
        StoreError: It cannot be written.
    """
    path = result_path(folder, training.plan)
    make_folder(path.parent)
    write_bytes(path, to_bytes(training, path.name))
    return path


def read_trainings(folder: RunFolder) -> tuple[tuple[Training, ...], tuple[StoreError, ...]]:
    """Read what can be read of a run's trainings, and one problem per file that is truncated, foreign or too new."""
    found, problems = [], []
    for path in sorted((folder.path / "training").glob("*.json")):
        try:
            found.append(from_file(Training, path, migrations=MIGRATIONS, current=TRAINING_SCHEMA))
        except StoreError as error:
            problems.append(error)
    return tuple(found), tuple(problems)


def remove_checkpoint(folder: RunFolder, plan: TrainingPlan) -> None:
    """Remove the checkpoint of a training that is done."""
    with contextlib.suppress(FileNotFoundError):
        checkpoint_path(folder, plan).unlink()


def discard(folder: RunFolder) -> None:
    """Take back a run's folder in which nothing was measured; one that holds more stays."""
    with contextlib.suppress(OSError, StoreError):
        if not any(path.is_file() for path in folder.path.rglob("*") if path.name != "run.json"):
            (folder.path / "run.json").unlink()
            for path in (*folder.path.iterdir(), folder.path):
                path.rmdir()
