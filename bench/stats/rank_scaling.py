"""What several processes cost beside one: a cell of several ranks against the same cell alone, of the same run.

Weak scaling: every rank has the batch of the single process, so its own work is the same. What its phases take longer
is time spent to communicate, to wait for other ranks, or to share caches, memory bandwidth and clocks with them:

    communication = (backward_W - backward_1) + (optimizer_W - optimizer_1) [+ (forward_W - forward_1) with FSDP2]
    share         = communication / step_W
    efficiency    = step_1 / step_W

Strong scaling: the ranks share the batch of the single process, which is W times one rank's:

    efficiency    = step_1 / (W step_W)

It is an upper bound of what the network itself takes, and it can come out below zero within its noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.core.cell import Cell, Mode, Parallel, ScalingMode
from bench.core.record import Outcome, Phase, Record
from bench.stats.estimate import quantile
from bench.stats.summary import estimate_phase, summarise


@dataclass(frozen=True, slots=True, kw_only=True)
class RankScaling:
    """A cell of several ranks beside the same cell of one.

    Attributes:
        cell: Cell with several ranks.
        examples_per_second: Rate of all ranks together.
        scaling: What the cell of one process has: the batch of a rank (weak), or of all of them (strong).
        efficiency: Step of one process / step of all, strong by their number; 1 is perfect.
        communication_seconds: What the communicating phases take longer than those of one process.
        communication_fraction: The same as a share of the step.
        communication_half_width: Half of that share's 95 % interval; None where a phase has none.
        reason: Why there is no comparison; None where there is one.
        slowest_rank: The one whose forward pass takes longest: the others wait for it.
        rank_spread_fraction: (longest - shortest) / longest of the ranks' median forward passes; 0 is even.
    """

    cell: Cell
    scaling: ScalingMode = ScalingMode.WEAK
    examples_per_second: float | None = None
    efficiency: float | None = None
    communication_seconds: float | None = None
    communication_fraction: float | None = None
    communication_half_width: float | None = None
    reason: str | None = None
    slowest_rank: int | None = None
    rank_spread_fraction: float | None = None


def rank_scalings(records: Sequence[Record]) -> tuple[RankScaling, ...]:
    """Compare every cell of several ranks with the same cell of one; in the order of the records."""
    alone = _of_one(records)
    return tuple(one for record in records if record.cell.world_size > 1 for one in _scalings_of(record, alone))


def main_rank_scalings(records: Sequence[Record]) -> list[RankScaling | None]:
    """Compare every cell of several ranks by weak scaling if it can be; None for those of one."""
    alone = _of_one(records)
    return [_scalings_of(record, alone)[0] if record.cell.world_size > 1 else None for record in records]


_OfOne = Mapping[Cell, Sequence[Record]]
"""Records of one process by their cell as `_as_alone` writes it."""


def _of_one(records: Sequence[Record]) -> _OfOne:
    found: dict[Cell, list[Record]] = {}
    for record in records:
        if record.cell.world_size == 1:
            found.setdefault(_as_alone(record.cell), []).append(record)
    return found


def _as_alone(cell: Cell) -> Cell:
    return replace(cell, world_size=1, nodes=1, parallel=Parallel.DDP, threads=None)


def _scalings_of(record: Record, records: _OfOne) -> list[RankScaling]:
    """Compare a cell by every kind of scaling of which there is a cell of one process; by weak scaling if by none."""
    summary = summarise(record)
    slowest, spread = _spread(record)
    found = RankScaling(
        cell=record.cell,
        examples_per_second=summary.examples_per_second,
        slowest_rank=slowest,
        rank_spread_fraction=spread,
    )
    partners = {scaling: _alone(record, records, scaling) for scaling in ScalingMode}
    kinds = [scaling for scaling, alone in partners.items() if alone is not None] or [ScalingMode.WEAK]
    return [_one(replace(found, scaling=kind), record, partners[kind]) for kind in kinds]


def _one(found: RankScaling, record: Record, alone: Record | None) -> RankScaling:
    reason = _why_incomparable(record, alone)
    if alone is None or reason is not None:
        return replace(found, reason=reason)
    return _compared(found, record, alone)


def _alone(record: Record, records: _OfOne, scaling: ScalingMode) -> Record | None:
    """Find the same cell of one process: with the threads of a rank if there is one, else with any."""
    times = record.cell.world_size if scaling is ScalingMode.STRONG else 1
    wanted = replace(record.cell, batch_size=record.cell.batch_size * times)
    there = sorted(records.get(_as_alone(wanted), ()), key=lambda other: _threads(other) != _threads(record))
    return there[0] if there else None


def _threads(record: Record) -> int | None:
    if record.ranks is not None:
        return record.ranks.threads
    return record.cell.threads or (record.environment.threads if record.environment else None)


def _why_incomparable(record: Record, alone: Record | None) -> str | None:
    if record.outcome is not Outcome.OK:
        return f"the cell is {record.outcome.value}"
    if alone is None:
        return "no world_size 1 cell in this run: add --world-size 1"
    if alone.outcome is not Outcome.OK:
        return f"the world_size 1 cell is {alone.outcome.value}"
    if _threads(alone) != _threads(record):
        threads = _threads(record)
        return (
            f"the world_size 1 cell had {_threads(alone)} threads, each rank {threads}: give both --threads {threads}"
        )
    return None


def _compared(found: RankScaling, record: Record, other: Record) -> RankScaling:
    ranks, alone = summarise(record), summarise(other)
    if ranks.step is None or alone.step is None or not ranks.step.point > 0:
        return replace(found, reason="no step was timed")
    efficiency = alone.step.point / ranks.step.point
    if found.scaling is ScalingMode.STRONG:
        reason = "strong scaling: the share is against a world_size 1 cell with the batch of one process"
        return replace(found, efficiency=efficiency / found.cell.world_size, reason=reason)
    phases = _communicating(found.cell)
    if not phases:
        return replace(found, efficiency=efficiency, reason="copies that only infer do not communicate")
    if any(one.phase(phase) is None for phase in phases for one in (ranks, alone)):
        does_not_add_up = any(not one.phases and one.residual_fraction is not None for one in (ranks, alone))
        reason = "the phases do not add up to the step" if does_not_add_up else "a phase was not timed"
        return replace(found, efficiency=efficiency, reason=reason)
    mine, theirs = ([one for p in phases if (one := estimate_phase(each, p))] for each in (record, other))
    seconds = sum(one.point for one in mine) - sum(one.point for one in theirs)
    estimates = [*mine, *theirs]
    halves = [half for estimate in estimates if (half := estimate.half_width) is not None]
    return replace(
        found,
        efficiency=efficiency,
        communication_seconds=seconds,
        communication_fraction=seconds / ranks.step.point,
        communication_half_width=math.hypot(*halves) / ranks.step.point if len(halves) == len(estimates) else None,
    )


def _communicating(cell: Cell) -> tuple[Phase, ...]:
    """Name the phases in which ranks communicate."""
    if cell.parallel is Parallel.FSDP2:
        inference, training = (Phase.FORWARD,), (Phase.FORWARD, Phase.BACKWARD, Phase.OPTIMIZER)
        return training if cell.mode is Mode.TRAIN else inference
    return (Phase.BACKWARD, Phase.OPTIMIZER) if cell.mode is Mode.TRAIN else ()


def _spread(record: Record) -> tuple[int | None, float | None]:
    """Compare the ranks' forward passes: before the first exchange of a step each shows its own speed."""
    seconds: dict[int, list[float]] = {}
    for sample in record.samples:
        if sample.phase is Phase.FORWARD:
            seconds.setdefault(sample.rank, []).extend(sample.seconds)
    medians = {rank: quantile(values, 0.5) for rank, values in seconds.items() if values}
    if len(medians) < 2:
        return None, None
    slowest = max(medians, key=lambda rank: medians[rank])
    return slowest, (medians[slowest] - min(medians.values())) / medians[slowest] if medians[slowest] > 0 else None
