"""The largest batch that fits into a memory, and how that was found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bench.core.cell import Cell
from bench.core.record import Outcome, PredictedPeak


class FitLimit(StrEnum):
    """What ended the search."""

    MEMORY = "memory"  # one example more does not fit
    MODEL = "model"  # not even the smallest batch fits
    SEARCH = "search"  # the largest batch that was tried still fits: memory hardly depends on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One prediction of the search."""

    batch_size: int
    peak: PredictedPeak


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The largest batch that fits, and how memory grows with the batch.

    Attributes:
        batch_size: 0 if not even the smallest batch fits.
        memory_bytes: Memory that was asked for.
        probes: Every prediction made, sorted by batch size.
        slope_bytes_per_example: Between the smallest batch and the largest probe that fits (the nearest probe, if
            none does); None with one probe.
        intercept_bytes: Value of the same line at batch 0.
    """

    batch_size: int
    memory_bytes: int
    limited_by: FitLimit
    probes: tuple[Probe, ...]
    slope_bytes_per_example: float | None
    intercept_bytes: float | None

    @property
    def peak(self) -> PredictedPeak | None:
        """The predicted peak of the answer; None if nothing fits."""
        return next((probe.peak for probe in self.probes if probe.batch_size == self.batch_size), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a real run of the found batch showed.

    Attributes:
        outcome: SKIPPED where the machine has less memory free than is predicted.
        live: Tensor bytes really alive at the peak, by cause; None where it was not run.
        allocated_bytes: The accelerator allocator's own peak in that run; None on the CPU.
        reason: Why it was not run, or how it failed.
    """

    outcome: Outcome = Outcome.OK
    live: PredictedPeak | None = None
    allocated_bytes: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCell:
    """The largest batch of one cell.

    Attributes:
        cell: With the batch that was found; 1 where none was.
        fit: None where nothing could be predicted.
        reason: Why not.
        verification: None where nothing was to be verified.
    """

    cell: Cell
    fit: Fit | None = None
    reason: str | None = None
    verification: Verification | None = None

    @property
    def is_refuted(self) -> bool:
        """Whether the batch was run for real, and failed or held more than the memory that was to be filled."""
        run = self.verification
        if run is None or self.fit is None or run.outcome is Outcome.SKIPPED:
            return False
        return run.outcome is not Outcome.OK or run.live is None or run.live.total_bytes > self.fit.memory_bytes
