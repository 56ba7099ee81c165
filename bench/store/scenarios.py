"""What longer workloads leave in a run's folder: one JSON file per case, whole the moment the case ends.

results/<run-id>/generation/<case-key>.json
results/<run-id>/sampling/<case-key>.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from bench.store.atomic import make_folder, write_bytes
from bench.store.codec import from_file, to_bytes
from bench.store.records import RunFolder

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
