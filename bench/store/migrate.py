"""Old record files stay readable: one step per schema version, applied to parsed JSON before it becomes a Record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bench.core.errors import SchemaError, StoreError
from bench.core.record import SCHEMA

Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the JSON object of version n, returns that of version n + 1; `schema` itself is set by `migrate`."""

MIGRATIONS: Mapping[int, Migration] = {1: lambda data: data, 2: lambda data: data}  # 2 and 3 only added optional fields
"""By the version they start from; `tests/golden` keeps a file per version."""


def migrate(
    data: Any, where: str, *, migrations: Mapping[int, Migration] = MIGRATIONS, current: int = SCHEMA
) -> dict[str, Any]:
    """Bring the JSON object of a record or a run up to the current schema.

    Args:
        data: Parsed JSON; left as it is.
        where: Names the file in errors.
        migrations: Steps by the version they start from.
        current: The version to arrive at.

    Raises:
        SchemaError: A newer stepbench wrote it, or the step from its version is gone.
        StoreError: It is not an object with a `schema`.
    """
    if not isinstance(data, dict) or type(data.get("schema")) is not int:
        raise StoreError(f"{where} is not a stepbench file: it has no schema number; move it elsewhere")
    schema = data["schema"]
    if schema > current:
        raise SchemaError(
            f"{where} has schema {schema}, this stepbench reads up to {current}: it was written by a newer stepbench"
            f" ({data.get('stepbench', 'version unknown')}); update with `pip install -U stepbench`"
        )
    migrated: dict[str, Any] = dict(data)
    while schema < current:
        if schema not in migrations:
            raise SchemaError(f"{where} has schema {schema}, which no stepbench of this line wrote; move it elsewhere")
        migrated = migrations[schema](migrated)
        schema += 1
        migrated["schema"] = schema
    return migrated
