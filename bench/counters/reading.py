"""Everything that fake tensors tell about one step, with the model built once."""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.cell import Cell
from bench.core.record import PredictedPeak
from bench.core.workload import Workload
from bench.counters.dispatches import StepOperations, count_step
from bench.counters.fakes import fake_step
from bench.counters.predict import block_bytes
from bench.counters.saved import SavedBytes, count_saved
from bench.counters.timeline import track_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReading:
    """Operations, saved bytes and peaks of a step.

    Attributes:
        first_peak: Of the first step, which creates the optimizer's state.
        steady_peak: Of the second step.
    """

    operations: StepOperations
    saved: SavedBytes
    first_peak: PredictedPeak
    steady_peak: PredictedPeak

    @property
    def peak(self) -> PredictedPeak:
        """The higher of the two peaks: what the cell needs."""
        return max(self.first_peak, self.steady_peak, key=lambda peak: peak.total_bytes)


def read_step(workload: Workload, cell: Cell) -> StepReading:
    """Count operations and saved bytes and predict the peaks, in one go: the same values as asking for each alone."""
    with fake_step(workload, cell) as step:
        first_peak, steady_peak = track_steps(step, 2).peaks(round_to=block_bytes(cell))
        operations = count_step(step)
        return StepReading(
            operations=operations, saved=count_saved(step), first_peak=first_peak, steady_peak=steady_peak
        )
