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
    "kernel_launches",
    "peak_allocated_bytes",
    "peak_reserved_bytes",
    "device_used_bytes",
    "peak_resident_bytes",
    "step_resident_bytes",
)
"""Columns of records that hold whole numbers."""

MEASURED = (*SECONDS, *COUNTS)


class UtcTime(TypeDecorator[datetime]):
    """A moment; in UTC for SQLite, which knows no zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

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

schema = Table("stepbench_schema", metadata, Column("version", Integer, nullable=False))

environments = Table(
    "stepbench_environments",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("machine", Text, nullable=False),
    Column("fields", JSON, nullable=False),
)

cells = Table(
    "stepbench_cells",
    metadata,
    Column("key", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("axes", JSON(none_as_null=True)),
)

runs = Table(
    "stepbench_runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("path", Text, nullable=False),
    Column("written_by", Text, nullable=False),
)

records = Table(
    "stepbench_records",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("run_id", Text, ForeignKey(runs.c.id), nullable=False),
    Column("cell_key", Text, ForeignKey(cells.c.key), nullable=False),
    Column("fingerprint", Text, ForeignKey(environments.c.fingerprint)),
    Column("started_at", UtcTime, nullable=False),
    Column("git_commit", Text),
    Column("git_dirty", Boolean),
    Column("code", Text),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
    Column("path", Text, nullable=False),
    *(Column(name, Double) for name in SECONDS),
    *(Column(name, BigInteger) for name in COUNTS),
)

pruned = Table("stepbench_pruned", metadata, Column("digest", Text, primary_key=True))
