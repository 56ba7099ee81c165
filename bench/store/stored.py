"""What is exported, and what all formats ask of it."""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.claim import CheckedClaim
from bench.core.environment import Environment
from bench.core.gate import GateRow
from bench.core.record import Outcome, Phase, Record
from bench.core.text import plain
from bench.stats.summary import Summary, summarise


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A stored run.

    Attributes:
        id: Name of its folder.
        started_at: ISO 8601 with zone.
        environment: Of the process that started it; each record has its own.
        claims: Documented values, checked; only some formats can hold them.
        gate: What `bench gate` found; likewise.
    """

    id: str
    started_at: str
    environment: Environment | None = None
    records: tuple[Record, ...] = ()
    claims: tuple[CheckedClaim, ...] = ()
    gate: tuple[GateRow, ...] = ()

    @property
    def measured(self) -> tuple[Measured, ...]:
        """Return the cells that have a step time; a cell that failed has none, whatever it timed before."""
        found = []
        for record in self.records:
            summary = summarise(record) if record.outcome is Outcome.OK else None
            if summary is not None and summary.step is not None and summary.step.point > 0:
                found.append(Measured(record=record, summary=summary))
        return tuple(found)

    @property
    def unmeasured(self) -> tuple[Record, ...]:
        """Return the other cells."""
        known = {one.record.cell.key for one in self.measured}
        return tuple(record for record in self.records if record.cell.key not in known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One cell that ended OK, with its derived figures."""

    record: Record
    summary: Summary

    @property
    def seconds(self) -> float:
        """Return the median of the unsplit step."""
        assert self.summary.step is not None  # or it would not be among the measured
        return self.summary.step.point

    @property
    def steps(self) -> tuple[float, ...]:
        """Return the raw seconds of every step, all processes."""
        return self.record.sample_seconds(Phase.STEP)


def doubts(record: Record) -> tuple[str, ...]:
    """List the kinds of doubt about a record, each once."""
    return tuple(dict.fromkeys(advice.kind.value for advice in record.advice))


def peak_bytes(record: Record) -> tuple[str, int] | None:
    """Choose the peak to export, and its name: measured on the device, else in the process, else predicted."""
    memory, predicted = record.counters.memory, record.counters.predicted_peak
    if memory and memory.peak_allocated_bytes is not None:
        return "peak_allocated_bytes", memory.peak_allocated_bytes
    if memory and memory.step_resident_bytes is not None:
        return "step_resident_bytes", memory.step_resident_bytes
    return ("predicted_peak_bytes", predicted.total_bytes) if predicted else None


def ending(record: Record) -> str:
    """Say in one line how a cell ended: `out_of_memory: tried to allocate ...`."""
    return f"{record.outcome.value}: {plain(record.reason)}" if record.reason else record.outcome.value
