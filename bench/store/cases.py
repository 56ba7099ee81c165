"""What a run's folder holds besides records: one JSON file per case, whole the moment the case ends.

profile/<cell-key>.json      of `bench profile`
training/<plan-key>.json     of `bench train`, its checkpoint beside it until it is done
generation/<case-key>.json   of `bench generate`
sampling/<case-key>.json     of `bench sample`

Readers return what can be read, and one problem per file that is truncated, foreign or too new.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, TypeVar

from bench.core.errors import StoreError
from bench.core.generation import Generation, Sampled
from bench.core.jsonio import to_json
from bench.core.profile import Profile
from bench.core.record import SCHEMA
from bench.core.training import TRAINING_SCHEMA, Training, TrainingPlan
from bench.store.atomic import make_folder, write_bytes
from bench.store.codec import from_file, to_bytes
from bench.store.runs import RunFolder

T = TypeVar("T")

PROFILES = "profile"
"""Name of the folder of a run's profiles."""


def write_case(folder: RunFolder, measured: Profile | Training | Generation | Sampled) -> Path:
    """Write what was measured of a case, whole and durable; an earlier result of the same case is replaced.

    Raises:
        StoreError: It cannot be written.
    """
    if isinstance(measured, Profile):
        path = folder.path / PROFILES / f"{measured.cell.key}.json"
    elif isinstance(measured, Training):
        path = result_path(folder, measured.plan)
    else:
        kind = "generation" if isinstance(measured, Generation) else "sampling"
        path = folder.path / kind / f"{measured.case.key}.json"
    make_folder(path.parent)
    write_bytes(path, to_bytes(measured, str(path)))
    return path


def read_profiles(folder: RunFolder) -> tuple[tuple[Profile, ...], tuple[StoreError, ...]]:
    """Read the profiles of a run, in the order of its cells."""
    found, problems = _read(folder.path / PROFILES, Profile)
    planned = {cell.key: index for index, cell in enumerate(folder.run.cells)}
    return tuple(sorted(found, key=lambda one: planned.get(one.cell.key, len(planned)))), problems


def read_trainings(folder: RunFolder) -> tuple[tuple[Training, ...], tuple[StoreError, ...]]:
    """Read the trainings of a run."""
    return _read(folder.path / "training", Training, TRAINING_SCHEMA)


def read_generations(folder: RunFolder) -> tuple[tuple[Generation, ...], tuple[StoreError, ...]]:
    """Read the cases of generating text, as planned."""
    return _read_cases(folder, "generation", Generation)


def read_images(folder: RunFolder) -> tuple[tuple[Sampled, ...], tuple[StoreError, ...]]:
    """Read the cases of sampling images, as planned."""
    return _read_cases(folder, "sampling", Sampled)


def _read_cases(folder: RunFolder, kind: str, cls: type[T]) -> tuple[tuple[T, ...], tuple[StoreError, ...]]:
    found, problems = _read(folder.path / kind, cls)
    settings = folder.run.settings
    planned = settings.get(kind, []) if isinstance(settings, dict) else []

    def place(one: Any) -> tuple[int, str]:
        case = to_json(one.case)
        return (planned.index(case) if case in planned else len(planned), one.started_at)

    return tuple(sorted(found, key=place)), problems


def _read(folder: Path, cls: type[T], schema: int = SCHEMA) -> tuple[tuple[T, ...], tuple[StoreError, ...]]:
    found, problems = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(from_file(cls, path, current=schema))
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
