"""The tables as queries see them. `migrations` makes them; a test compares the two on both databases.

    environments   one row per fingerprint: hardware, software, settings
    cells          one row per cell key: its name and its axes
    runs           one row per run folder or file of pytest-benchmark
    records        one row per measurement: what was found, by whom, where the raw record lies
    pruned         addresses of records that were taken out, so that the next ingest leaves them out too
    schema         the version of all this

Names begin with `stepbench_`, because a team's database holds other tables too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)

from bench.core.errors import StoreError
from bench.core.text import plain

SECONDS = (
    "step_median_seconds",
    "step_low_seconds",
    "step_high_seconds",
    "step_n_effective",
    "step_relative_dispersion",
    "forward_median_seconds",
    "loss_median_seconds",
    "backward_median_seconds",
    "optimizer_median_seconds",
    "tokens_per_second",
    "token_seconds",
    "energy_joules",
    "build_seconds",
    "first_step_seconds",
    "steps_until_steady",
    "startup_seconds",
    "compile_seconds",
    "cold_start_seconds",
    "cached_start_seconds",
)
"""Columns of records that hold fractions; all are columns of `tables/cells` too, with the same meaning."""

EXACT = (
    "parameters",
    "trainable_parameters",
    "flops_forward",
    "flops_backward",
    "dispatch_count",
    "bytes_touched",
    "saved_bytes",
    "predicted_peak_bytes",
)
"""Counts without noise: for one model, version of torch and device they are equal to the bit."""

COUNTS = (
    "step_n",
    "step_processes",
    *EXACT,
    "compile_payback_steps",
    "kernel_launches",
    "peak_allocated_bytes",
    "peak_reserved_bytes",
    "device_used_bytes",
    "peak_resident_bytes",
    "step_resident_bytes",
)
"""Columns of records that hold whole numbers."""

MEASURED = (*SECONDS, *COUNTS)


class _Checked(TypeDecorator[Any]):
    """A column of which only what belongs there is read: SQLite keeps any value in any column."""

    impl: Any
    kinds: tuple[type, ...]

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """Make the reader of a value, which raises StoreError."""
        process = super().result_processor(dialect, coltype)

        def read(value: Any) -> Any:
            try:
                found = value if process is None else process(value)
            except (ValueError, TypeError, OverflowError):
                raise _unreadable(value) from None
            is_right = found is None or type(found) in self.kinds
            if not is_right or (isinstance(found, float) and not math.isfinite(found)):
                raise _unreadable(value)
            return found

        return read


def _unreadable(value: Any) -> StoreError:
    return StoreError(
        f"the history holds {plain(repr(value), 80)}, which nobody put there by `bench history ingest`; "
        "delete it and ingest the runs again"
    )


def _checked(name: str, impl: Any, *kinds: type) -> type[_Checked]:
    return type(name, (_Checked,), {"impl": impl, "kinds": kinds, "cache_ok": True})


Words = _checked("Words", Text, str)
Fraction = _checked("Fraction", Double, float, int)
"""Finite."""
Count = _checked("Count", BigInteger, int)
Small = _checked("Small", Integer, int)
"""32 bits."""
Flag = _checked("Flag", Boolean, bool)
Fields = _checked("Fields", JSON, dict)


class UtcTime(_Checked):
    """A moment; in UTC for SQLite, which knows no zones."""

    impl = DateTime(timezone=True)
    cache_ok = True
    kinds = (datetime,)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn any zone into UTC."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Mark it as UTC."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


metadata = MetaData()

schema = Table("stepbench_schema", metadata, Column("version", Small, nullable=False))

environments = Table(
    "stepbench_environments",
    metadata,
    Column("fingerprint", Words, primary_key=True),
    Column("machine", Words, nullable=False),
    Column("fields", Fields, nullable=False),
)

cells = Table(
    "stepbench_cells",
    metadata,
    Column("key", Words, primary_key=True),
    Column("name", Words, nullable=False),
    Column("axes", Fields(none_as_null=True)),
)

runs = Table(
    "stepbench_runs",
    metadata,
    Column("id", Words, primary_key=True),
    Column("kind", Words, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("path", Words, nullable=False),
    Column("written_by", Words, nullable=False),
)

records = Table(
    "stepbench_records",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("digest", Words, nullable=False, unique=True),
    Column("run_id", Words, ForeignKey(runs.c.id), nullable=False),
    Column("cell_key", Words, ForeignKey(cells.c.key), nullable=False),
    Column("fingerprint", Words, ForeignKey(environments.c.fingerprint)),
    Column("started_at", UtcTime, nullable=False),
    Column("git_commit", Words),
    Column("git_dirty", Flag),
    Column("code", Words),
    Column("outcome", Words, nullable=False),
    Column("reason", Words),
    Column("path", Words, nullable=False),
    *(Column(name, Fraction) for name in SECONDS),
    *(Column(name, Count) for name in COUNTS),
)

pruned = Table("stepbench_pruned", metadata, Column("digest", Words, primary_key=True))
