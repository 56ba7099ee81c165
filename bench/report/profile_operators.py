"""The table of the dearest operations of a profile, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.profile import OperatorCost, Profile
from bench.report.columns import MISSING, bytes_column, timed_columns
from bench.report.figures import percent, plain
from bench.report.layout import Column
from bench.report.profile_doubt import are_doubtful, marked

TOP_OPERATORS = 10


def operator_columns(profile: Profile) -> list[Column]:
    """Make the table of the dearest operations; the others are one row, the last is the step."""
    top, rest = profile.operators[:TOP_OPERATORS], profile.operators[TOP_OPERATORS:]
    names = [operation_name(row.name) for row in top]
    seconds = [row.seconds for row in top]
    calls = [row.calls for row in top]
    touched = [row.bytes_touched for row in top]
    host = [row.host_seconds for row in top]
    if rest:
        names.append(f"{len(rest)} others")
        seconds.append(sum(row.seconds for row in rest))
        calls.append(sum(row.calls for row in rest))
        touched.append(_known_sum(rest))
        host.append(sum(row.host_seconds or 0.0 for row in rest) if profile.clock == "device" else None)
    doubts = [*(are_doubtful([row]) for row in top), *([are_doubtful(rest)] if rest else []), False]
    names.append("step")
    seconds.append(profile.step_seconds)
    calls.append(sum(row.calls for row in profile.operators))
    touched.append(_known_sum(profile.operators))
    host.append(profile.host_step_seconds)
    none = [None] * len(names)
    share = tuple(percent(value / profile.step_seconds) for value in seconds)
    return [
        Column(header="operation", cells=tuple(names), right=False, key=True),
        *marked(timed_columns("self", [value or None for value in seconds], none), doubts),
        *marked([Column(header="step %", cells=share)], doubts),
        Column(header="calls", cells=tuple(f"{count:,.0f}" if count else MISSING for count in calls), rank=1),
        *(timed_columns("host", host, none, 2) if profile.clock == "device" else []),
        *bytes_column("touched", touched, 2),
    ]


def operation_name(name: str) -> str:
    """Shorten what the profiler calls the engine's work around a node."""
    prefix = "autograd::engine::evaluate_function: "
    return plain(f"engine: {name.removeprefix(prefix)}" if name.startswith(prefix) else name)


def _known_sum(rows: Sequence[OperatorCost]) -> int | None:
    known = [row.bytes_touched for row in rows if row.bytes_touched is not None]
    return sum(known) if known else None
