"""Profiles in a run's folder: `profile/<cell-key>.json`, one file per cell."""

from __future__ import annotations

from pathlib import Path

from bench.core.profile import Profile
from bench.store.atomic import make_folder, write_bytes
from bench.store.codec import from_file, to_bytes
from bench.store.records import RunFolder

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
