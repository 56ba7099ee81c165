"""What a run's folder holds besides records: one JSON file per case, whole the moment the case ends.

profile/<cell-key>.json      of `bench profile`
training/<plan-key>.json     of `bench train`, its checkpoint beside it until it is done
generation/<case-key>.json   of `bench generate`
sampling/<case-key>.json     of `bench sample`

Readers return what can be read, and one problem per file that is truncated, foreign or too new.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from bench.core.errors import StoreError
from bench.core.generation import Generation, Sampled
from bench.core.jsonio import to_json
from bench.core.profile import Profile
from bench.core.training import TRAINING_SCHEMA, Training, TrainingPlan
from bench.store.atomic import make_folder, write_bytes
from bench.store.codec import from_file, to_bytes
from bench.store.runs import RunFolder

T = TypeVar("T")

PROFILES = "profile"
"""Name of the folder of a run's profiles."""


def append_case(folder: RunFolder, kind: str, measured: Any) -> Path:
    """Write one measured case to disk, whole and durable.

    Args:
        folder: Folder of the run.
        kind: `generation` or `sampling`.
        measured: A value with a `case` that has a key and an id.

    Raises:
        StoreError: It cannot be written.
    """
    return _write(folder.path / kind / f"{measured.case.key}.json", measured, measured.case.id)


def write_profile(folder: RunFolder, profile: Profile) -> Path:
    """Write one profile to disk, whole.

    Raises:
        StoreError: It cannot be written.
    """
    return _write(folder.path / PROFILES / f"{profile.cell.key}.json", profile, profile.cell.id)


def write_training(folder: RunFolder, training: Training) -> Path:
    """Write a training to disk, whole and durable; an earlier one of the same plan is replaced.

    Raises:
        StoreError: It cannot be written.
    """
    path = result_path(folder, training.plan)
    return _write(path, training, path.name)


def _write(path: Path, value: Any, name: str) -> Path:
    make_folder(path.parent)
    write_bytes(path, to_bytes(value, name))
    return path


def read_profile(path: Path) -> Profile:
    """Read one profile.

    Raises:
        StoreError: It is not there, truncated, or something else; a newer stepbench wrote it.
    """
    return from_file(Profile, path)


def read_profiles(folder: RunFolder) -> tuple[tuple[Profile, ...], tuple[StoreError, ...]]:
    """Read the profiles of a run, in the order of its cells."""
    found, problems = _read(folder.path / PROFILES, read_profile)
    planned = {cell.key: index for index, cell in enumerate(folder.run.cells)}
    return tuple(sorted(found, key=lambda one: planned.get(one.cell.key, len(planned)))), problems


def read_trainings(folder: RunFolder) -> tuple[tuple[Training, ...], tuple[StoreError, ...]]:
    """Read the trainings of a run."""
    return _read(
        folder.path / "training", lambda path: from_file(Training, path, migrations={}, current=TRAINING_SCHEMA)
    )


def read_generations(folder: RunFolder) -> tuple[tuple[Generation, ...], tuple[StoreError, ...]]:
    """Read the cases of generating text, as planned."""
    return _read_cases(folder, "generation", Generation)


def read_images(folder: RunFolder) -> tuple[tuple[Sampled, ...], tuple[StoreError, ...]]:
    """Read the cases of sampling images, as planned."""
    return _read_cases(folder, "sampling", Sampled)


def _read_cases(folder: RunFolder, kind: str, cls: type[T]) -> tuple[tuple[T, ...], tuple[StoreError, ...]]:
    found, problems = _read(folder.path / kind, lambda path: from_file(cls, path))
    settings = folder.run.settings
    planned = settings.get(kind, []) if isinstance(settings, dict) else []

    def place(one: Any) -> tuple[int, str]:
        case = to_json(one.case)
        return (planned.index(case) if case in planned else len(planned), one.started_at)

    return tuple(sorted(found, key=place)), problems


def _read(folder: Path, read: Callable[[Path], T]) -> tuple[tuple[T, ...], tuple[StoreError, ...]]:
    found, problems = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(read(path))
        except StoreError as error:
            problems.append(error)
    return tuple(found), tuple(problems)


def result_path(folder: RunFolder, plan: TrainingPlan) -> Path:
    """Return the path of a plan's result."""
    return folder.path / "training" / f"{plan.key}.json"


def checkpoint_path(folder: RunFolder, plan: TrainingPlan) -> Path:
    """Return the path of its checkpoint."""
    return result_path(folder, plan).with_suffix(".ckpt")


def remove_checkpoint(folder: RunFolder, plan: TrainingPlan) -> None:
    """Remove the checkpoint of a training that is done."""
    with contextlib.suppress(FileNotFoundError):
        checkpoint_path(folder, plan).unlink()


def discard(folder: RunFolder) -> None:
    """Remove a run's folder in which nothing was measured; one that holds more stays."""
    with contextlib.suppress(OSError, StoreError):
        if not any(path.is_file() for path in folder.path.rglob("*") if path.name != "run.json"):
            (folder.path / "run.json").unlink()
            for path in (*folder.path.iterdir(), folder.path):
                path.rmdir()
