"""Which cells of a run still have to be measured: what is measured is addressed by cell, code and environment."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.core.advice import AdviceKind
from bench.core.cell import Cell
from bench.core.environment import Environment
from bench.core.errors import StoreError
from bench.core.record import Outcome, Record, Sampling
from bench.registry.code import code_hash
from bench.store.runs import RunFolder


class Again(StrEnum):
    """Why a cell is measured, again or at last."""

    NO_RECORD = "without a record"
    ENDED_BADLY = "that ended badly"
    INCOMPLETE = "whose count or memory failed"
    MEMORY = "skipped for lack of memory"
    CODE = "whose model was edited, or whose code was not recorded"
    ENVIRONMENT = "measured in another environment"
    SAMPLING = "sampled by other settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """A run before it is resumed.

    Attributes:
        kept: Records that stand as they are.
        again: What is to be measured, and why.
        problems: One line per record file that cannot be read; its cell, if planned, is measured again.
    """

    kept: tuple[Record, ...]
    again: tuple[tuple[Cell, Again], ...]
    problems: tuple[StoreError, ...] = ()


def remaining(
    folder: RunFolder,
    cells: Sequence[Cell],
    environments: Mapping[str, Environment],
    sampling: Sampling,
    *,
    retried: Collection[Outcome] | None = None,
) -> Remaining:
    """Compare what is on disk with what is asked for.

    Args:
        folder: The run.
        cells: What is asked for, with full device names.
        environments: Environments of this machine, by device.
        sampling: How cells would be sampled now.
        retried: Of the cells that ended badly or are incomplete, only those that ended like this are tried again;
            None: all.

    Raises:
        StoreError: A newer stepbench wrote a record; it is left alone.
    """
    records, problems = folder.read_records()
    for problem in problems:
        if problem.is_other_version:
            raise problem
    known = {record.cell.key: record for record in records}
    codes = {model: code_hash(model) for model in dict.fromkeys(cell.model for cell in cells)}
    kept, again = [], []
    for cell in cells:
        record = known.get(cell.key)
        environment = environments.get(cell.device)
        reason = Again.NO_RECORD if record is None else _why_again(record, codes[cell.model], environment, sampling)
        is_bad = reason in (Again.ENDED_BADLY, Again.INCOMPLETE)
        if is_bad and retried is not None and record is not None and record.outcome not in retried:
            reason = None
        if reason is None and record is not None:
            kept.append(record)
        elif reason is not None:
            again.append((cell, reason))
    return Remaining(kept=tuple(kept), again=tuple(again), problems=problems)


def _why_again(record: Record, code: str | None, environment: Environment | None, sampling: Sampling) -> Again | None:
    """Explain why a record does not stand for its cell any more; None if it does."""
    if code is None or record.code != code:
        return Again.CODE
    if _fingerprint(record.environment) != _fingerprint(environment):
        return Again.ENVIRONMENT
    if record.sampling != sampling:
        return Again.SAMPLING
    if any(advice.kind is AdviceKind.MEMORY_TOO_SMALL for advice in record.advice):
        return Again.MEMORY
    if record.outcome in (Outcome.OK, Outcome.SKIPPED) and not _is_whole(record):
        return Again.INCOMPLETE
    return None if record.outcome in (Outcome.OK, Outcome.SKIPPED) else Again.ENDED_BADLY


def _is_whole(record: Record) -> bool:
    """Whether it was counted and its memory measured, too: the processes that do so may be killed as the others may."""
    kinds = {advice.kind for advice in record.advice}
    is_due = record.outcome is Outcome.OK or AdviceKind.COUNT_FAILED in kinds  # what a probe skips is not counted
    is_counted = record.counters.parameters is not None
    return (is_counted or not is_due) and AdviceKind.MEMORY_UNMEASURED not in kinds


def _fingerprint(environment: Environment | None) -> str | None:
    return environment.fingerprint if environment else None
