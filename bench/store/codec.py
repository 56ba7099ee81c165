"""Values to the bytes of a JSON file and back, with errors that name the file.

Old record files stay readable: one step per schema version, applied to parsed JSON before it becomes a Record.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bench.core.errors import StoreError
from bench.core.files import read_file
from bench.core.jsonio import from_json, parse_json, to_json
from bench.core.record import SCHEMA
from bench.store.atomic import make_folder, store_error, write_bytes

Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the JSON object of version n, returns that of version n + 1; `schema` itself is set by `migrate`."""

MIGRATIONS: Mapping[int, Migration] = dict.fromkeys((1, 2, 3), lambda data: data)  # 2 to 4 only added optional fields
"""By the version they start from; `tests/golden` keeps a file per version."""


def migrate(
    data: Any, where: str, *, migrations: Mapping[int, Migration] = MIGRATIONS, current: int = SCHEMA
) -> dict[str, Any]:
    """Bring the JSON object of a file up to the current schema; `data` is left as it is, `where` names the file.

    Raises:
        StoreError: A newer stepbench wrote it; the step from its version is gone; it has no `schema`.
    """
    if not isinstance(data, dict) or type(data.get("schema")) is not int:
        raise StoreError(f"{where} is not a stepbench file: it has no schema number; move it elsewhere")
    schema = data["schema"]
    if schema > current:
        raise StoreError(
            f"{where} has schema {schema}, this stepbench reads up to {current}: it was written by a newer stepbench"
            f" ({data.get('stepbench', 'version unknown')}); update stepbench",
            is_other_version=True,
        )
    migrated: dict[str, Any] = dict(data)
    while schema < current:
        if schema not in migrations:
            raise StoreError(
                f"{where} has schema {schema}, which no stepbench of this line wrote; move it elsewhere",
                is_other_version=True,
            )
        migrated = migrations[schema](migrated)
        schema += 1
        migrated["schema"] = schema
    return migrated


T = TypeVar("T")


def to_bytes(value: Any, name: str) -> bytes:
    """Write a frozen value as JSON that every reader takes: ASCII, no NaN; only what can be read back is written.

    Raises:
        StoreError: It holds a value of a wrong type, or a number that is not finite; `name` is in the message.
    """
    try:
        data = _finite(to_json(value))
        text = json.dumps(data, indent=1, allow_nan=False)
        from_json(type(value), data)  # a wrong type is found now, not when the whole run is read
    except (ValueError, TypeError) as error:
        raise StoreError(f"cannot write {name}: {error}; use None for what was not measured") from error
    return f"{text}\n".encode()


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file beside the records, and make its folder; plain values and dataclasses are written alike.

    Raises:
        StoreError: It cannot be written.
        ValueError: A number in it is not finite.
    """
    make_folder(path.parent)
    write_bytes(path, (json.dumps(to_json(value), indent=1, allow_nan=False) + "\n").encode())


def from_file(cls: type[T], path: Path, *, current: int = SCHEMA) -> T:
    """Read a value of type `cls` from a file, after migrating it to the current schema; by default that of records.

    Raises:
        StoreError: The file cannot be read, is truncated, or holds something else; a newer stepbench wrote it.
    """
    return from_data(cls, parse_file(path), path, current=current)


def parse_file(path: Path) -> Any:
    """Read the JSON of a file, whatever it holds.

    Raises:
        StoreError: The file cannot be read, or is truncated.
    """
    try:
        return parse_json(read_file(path))
    except OSError as error:
        raise store_error("read", path, error) from error
    except ValueError as error:
        raise StoreError(f"{path} is not whole JSON ({error}); delete it and measure the cell again") from error


def from_data(cls: type[T], data: Any, path: Path, *, current: int = SCHEMA) -> T:
    """Make a value of type `cls` of a file's JSON, after migrating it; `path` names the file in errors.

    Raises:
        StoreError: It is something else; a newer stepbench wrote it.
    """
    migrated = migrate(data, str(path), current=current)
    try:
        return from_json(cls, migrated)
    except ValueError as error:
        raise StoreError(f"{path} is not a {cls.__name__} of stepbench: {error}; move it elsewhere") from error


def digest(data: Any) -> str:
    """Address a file's JSON by its content: 32 hex digits of SHA-256, whatever the spaces and the order of keys.

    Of the JSON as it stands on disk, before any migration: the digest of a record never changes.
    """
    return hashlib.sha256(_CANONICAL.encode(data).encode()).hexdigest()[:32]


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def _finite(value: Any, key: str = "", in_facts: bool = False) -> Any:
    """Write a NaN or infinity as its word among facts, and as None where it is the loss; elsewhere it is a mistake."""
    if isinstance(value, float) and not math.isfinite(value) and (in_facts or key == "final_loss"):
        return str(value) if in_facts else None
    if isinstance(value, dict):
        return {name: _finite(item, name, in_facts or name == "facts") for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item, key, in_facts) for item in value]
    return value
