"""Two profiles row by row: which layers and operations account for the change of the step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from bench.core.profile import Change, OperatorCost, Profile, ProfileDiff, ProfiledLayer
from bench.stats.estimate import quantile

Row = TypeVar("Row", ProfiledLayer, OperatorCost)


def diff_profiles(before: Profile, after: Profile) -> ProfileDiff:
    """Match the rows of two profiles by name; one that is on one side only was added or removed."""
    return ProfileDiff(
        before=before.cell,
        after=after.cell,
        before_seconds=before.step_seconds,
        after_seconds=after.step_seconds,
        layers=_changes(before.layers, after.layers, lambda row: row.flops),
        operators=_changes(before.operators, after.operators, lambda _: None),
        noise_seconds=(_spread(before) + _spread(after)) / 2,
        doubts=tuple(_doubts(before, after)),
    )


def _changes(before: Sequence[Row], after: Sequence[Row], flops_of: Callable[[Row], int | None]) -> tuple[Change, ...]:
    old, new = {row.name: row for row in before}, {row.name: row for row in after}
    rows = []
    for name in {**old, **new}:
        was, now = old.get(name), new.get(name)
        rows.append(
            Change(
                name=name,
                before=was.seconds if was else None,
                after=now.seconds if now else None,
                before_flops=flops_of(was) if was else None,
                after_flops=flops_of(now) if now else None,
            )
        )
    return tuple(sorted(rows, key=lambda row: -abs(row.seconds)))


def _spread(profile: Profile) -> float:
    steps = profile.steps_seconds
    return (quantile(steps, 0.9) - quantile(steps, 0.1)) / 2 if steps else 0.0


def _doubts(before: Profile, after: Profile) -> list[str]:
    doubts = []
    if before.clock != after.clock:
        doubts.append(f"times of the {before.clock} against times of the {after.clock}")
    if before.stepbench != after.stepbench:
        doubts.append(f"profiled by stepbench {before.stepbench} and {after.stepbench}")
    doubts += [
        f"the profiler made a step of {profile.cell.id} {profile.overhead_fraction * 100:.0f} % longer"
        for profile in (before, after)
        if profile.overhead_fraction > 0.5
    ]
    return doubts
