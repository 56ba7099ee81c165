"""What longer workloads leave in a run's folder: one JSON file per case, whole the moment the case ends.

results/<run-id>/generation/<case-key>.json
results/<run-id>/sampling/<case-key>.json

Profiles in a run's folder: `profile/<cell-key>.json`, one file per cell.

Trainings in a run's folder: `training/<key>.json`, its checkpoint beside it, and tidy tables of its epochs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from bench.core.errors import StoreError
from bench.core.profile import Profile
from bench.core.training import TRAINING_SCHEMA, Training, TrainingPlan
from bench.store.atomic import make_folder, write_bytes
from bench.store.codec import Migration, from_file, to_bytes
from bench.store.runs import RunFolder

T = TypeVar("T")


def append_case(folder: RunFolder, room: str, measured: Any) -> Path:
    """Put one measured case on disk, whole and durable.

    Args:
        folder: The run's.
        room: `generation` or `sampling`.
        measured: A value with a `case` that has a key and an id.

    Raises:
        StoreError: It cannot be written.
    """
    make_folder(folder.path / room)
    path = folder.path / room / f"{measured.case.key}.json"
    write_bytes(path, to_bytes(measured, measured.case.id))
    return path


def read_cases(folder: RunFolder, room: str, cls: type[T]) -> tuple[T, ...]:
    """Read all measured cases of a room, by the time they started; () where there are none.

    Raises:
        StoreError: A file cannot be read.
    """
    found = [from_file(cls, path) for path in sorted((folder.path / room).glob("*.json"))]
    return tuple(sorted(found, key=lambda one: str(getattr(one, "started_at", ""))))


FOLDER = "profile"


def write_profile(folder: RunFolder, profile: Profile) -> Path:
    """Put one profile on disk, whole.

    Raises:
        StoreError: It cannot be written.
    """
    path = folder.path / FOLDER / f"{profile.cell.key}.json"
    make_folder(path.parent)
    write_bytes(path, to_bytes(profile, profile.cell.id))
    return path


def read_profile(path: Path) -> Profile:
    """Read one profile.

    Raises:
        StoreError: It is not there, truncated, or something else.
        SchemaError: A newer stepbench wrote it.
    """
    return from_file(Profile, path)


def read_profiles(folder: RunFolder) -> tuple[Profile, ...]:
    """Read the profiles of a run, in the order of its cells; a run that was not profiled has none.

    Raises:
        StoreError: One cannot be read.
    """
    paths = [folder.path / FOLDER / f"{cell.key}.json" for cell in folder.run.cells]
    return tuple(read_profile(path) for path in paths if path.is_file())


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
