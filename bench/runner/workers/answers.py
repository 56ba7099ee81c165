"""What the functions of `worker` answer: values that cross a process border, so they need no torch to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.claims.check import Subject
from bench.core.advice import Advice
from bench.core.environment import Environment, MachineState, RankSetup
from bench.core.record import Counters, Memory, Sample
from bench.store.kept import Imported


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What the machine can do for a sweep, asked before the first cell.

    Attributes:
        devices: What was asked for and its full name, in pairs.
        environments: One per full device name, in pairs.
        notes: Why `auto` passed over devices, one line each.
    """

    devices: tuple[tuple[str, str], ...]
    environments: tuple[tuple[str, Environment], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedCell:
    """What the timing process answers; `skipped` is a reason, and then there are no samples but perhaps advice."""

    skipped: str | None = None
    samples: tuple[Sample, ...] = ()
    advice: tuple[Advice, ...] = ()
    final_loss: float | None = None
    tokens_per_example: int | None = None
    state: MachineState | None = None
    ranks: RankSetup | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is measured of a cell beside its time; `reason` says why its kernels were not counted."""

    memory: Memory | None
    launches: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What was counted of one step of a cell, and what to doubt about it.

    Attributes:
        imported: The code it rests on; None if unknown.
    """

    counters: Counters
    advice: tuple[Advice, ...]
    imported: Imported | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedSubjects:
    """What was counted for claims: counters of one inference over `BATCH_SIZE` examples, or a reason why not."""

    counters: tuple[tuple[Subject, Counters], ...]
    reasons: tuple[tuple[Subject, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What a look at the machine gives; fields as in `bench.runner.doctor.Diagnosis`, and the state of each device."""

    environments: tuple[Environment, ...]
    precisions: tuple[tuple[str, str, str | None], ...]
    nvml: str | None
    states: tuple[Mapping[str, Any], ...]
    problems: tuple[str, ...] = ()
