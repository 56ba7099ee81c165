"""What docs/walkthrough.md is made from: figures of stored runs and checked claims, small enough to be committed.

The records of the runs stay where they are; of each cell the derived figures are kept, with the machine they came from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.core.advice import AdviceKind
from bench.core.cell import Cell
from bench.core.claim import CheckedClaim
from bench.core.environment import Environment
from bench.core.errors import StoreError
from bench.core.estimate import Estimate
from bench.core.jsonio import from_json, to_json
from bench.core.record import Outcome, Record
from bench.core.units import format_bytes
from bench.runner.session import builtin_suites
from bench.stats.scaling import Scaling, scalings
from bench.stats.summary import summarise
from bench.store.atomic import write_bytes
from bench.store.runs import RunFolder
from bench.suite.file import read_suite
from bench.suite.sweep import expand
from benchmarks.seed_page.topics import TOPICS

_SUITES = tuple(dict.fromkeys(suite for topic in TOPICS for suite in topic.suites))
_SEED = "HackTricks"
"""The source of every claim that is the seed page's begins so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCell:
    """The figures of one cell; each None where it was not measured."""

    cell: Cell
    outcome: Outcome
    reason: str | None = None
    step: Estimate | None = None
    phase_seconds: tuple[tuple[str, float], ...] = ()
    tokens_per_second: float | None = None
    flops: int | None = None
    parameters: int | None = None
    saved_bytes: int | None = None
    optimizer_state_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One suite, measured.

    Attributes:
        machine: Hardware and software, in words.
        busy: Cells beside which other work ran, so that their times say little.
    """

    suite: str
    measured_at: str
    machine: str
    busy: int
    cells: tuple[MeasuredCell, ...]
    scalings: tuple[Scaling, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that the page is made from; every part may be missing."""

    measurements: tuple[Measurement, ...] = ()
    claims: tuple[CheckedClaim, ...] = ()

    def of(self, suite: str) -> Measurement | None:
        """Return what was measured of a suite."""
        return next((one for one in self.measurements if one.suite == suite), None)


def read_evidence(path: Path) -> Evidence:
    """Read what was kept; nothing at all if there is no such file.

    Raises:
        StoreError: The file is no evidence.
    """
    try:
        return from_json(Evidence, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Evidence()
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is no evidence of a walk-through: {error}") from error


def write_evidence(path: Path, evidence: Evidence) -> None:
    """Keep it.

    Raises:
        StoreError: The file cannot be written.
    """
    write_bytes(path, (json.dumps(to_json(evidence), indent=1, ensure_ascii=False) + "\n").encode())


def with_runs(evidence: Evidence, runs: Iterable[RunFolder]) -> Evidence:
    """Add every suite of the page that a run holds a cell of; what was kept of these is replaced, later runs win."""
    kept = {one.suite: one for one in evidence.measurements}
    for run in runs:
        records = run.records()
        for name in _SUITES:
            cells = expand(read_suite(builtin_suites()[name]).sweeps)
            found = {replace(record.cell, device="cpu"): record for record in records}
            mine = [found[cell] for cell in cells if cell in found]
            if mine:
                kept[name] = _measurement(name, run, mine)
    return replace(evidence, measurements=tuple(kept[name] for name in sorted(kept)))


def with_claims(evidence: Evidence, path: Path) -> Evidence:
    """Put the seed page's claims in place: of what `bench check --time --format json` printed.

    Raises:
        StoreError: The file holds something else.
    """
    try:
        claims = (from_json(CheckedClaim, one) for one in json.loads(path.read_text(encoding="utf-8"))["claims"])
        return replace(evidence, claims=tuple(one for one in claims if one.claim.source.startswith(_SEED)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is not what bench check --format json prints: {error}") from error


def _measurement(suite: str, run: RunFolder, records: Sequence[Record]) -> Measurement:
    environment = run.run.environment or next((r.environment for r in records if r.environment), None)
    return Measurement(
        suite=suite,
        measured_at=run.run.started_at,
        machine=_machine(environment) if environment else "an unknown machine",
        busy=sum(any(advice.kind is AdviceKind.BUSY_MACHINE for advice in record.advice) for record in records),
        cells=tuple(_cell(record) for record in records),
        scalings=scalings(records),
    )


def _machine(environment: Environment) -> str:
    facts = (
        environment.cpu,
        f"{environment.cores} cores",
        format_bytes(environment.memory_bytes),
        environment.gpu,
        f"torch {environment.torch}",
    )
    return ", ".join(fact for fact in facts if fact)


def _cell(record: Record) -> MeasuredCell:
    summary, counters = summarise(record), record.counters
    return MeasuredCell(
        cell=record.cell,
        outcome=record.outcome,
        reason=record.reason,
        step=summary.step,
        phase_seconds=tuple((phase.value, seconds) for phase, seconds in summary.phases),
        tokens_per_second=summary.tokens_per_second,
        flops=summary.flops_total,
        parameters=counters.parameters,
        saved_bytes=counters.saved_bytes,
        optimizer_state_bytes=counters.predicted_peak.optimizer_state_bytes if counters.predicted_peak else None,
    )
