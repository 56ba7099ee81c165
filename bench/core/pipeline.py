"""An input pipeline beside the step it feeds: each alone, and both together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.core.record import Advice, Outcome
from bench.core.training import TrainingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelinePoint:
    """One combination of workers, batch size, prefetching and pinned memory, measured three times.

    Attributes:
        plan: Model, data, batch size, workers, prefetch, pinned memory; what only a whole training has is not read.
        start_seconds: Until the loader gave its first batch, its workers' start included.
        data_seconds: Per batch, of the loader alone, after the batches that were prepared ahead.
        step_seconds: Per step, of the step alone, on one batch that lies on the device.
        joint_seconds: Per step, of both together, copying included.
        wait_seconds: Of these, what the step waited for its batch.
        reason: Why the outcome is not OK.
    """

    plan: TrainingPlan
    outcome: Outcome = Outcome.OK
    reason: str | None = None
    start_seconds: float | None = None
    data_seconds: tuple[float, ...] = ()
    step_seconds: tuple[float, ...] = ()
    joint_seconds: tuple[float, ...] = ()
    wait_seconds: tuple[float, ...] = ()
    advice: tuple[Advice, ...] = ()

    @property
    def data_examples_per_second(self) -> float | None:
        """What the loader alone gives."""
        return self._rate(self.data_seconds)

    @property
    def step_examples_per_second(self) -> float | None:
        """What the step alone takes."""
        return self._rate(self.step_seconds)

    @property
    def joint_examples_per_second(self) -> float | None:
        """What both reach together."""
        return self._rate(self.joint_seconds)

    @property
    def wait_fraction(self) -> float | None:
        """Share of the joint time that the step waits."""
        total = sum(self.joint_seconds)
        return sum(self.wait_seconds) / total if total else None

    def _rate(self, seconds: Sequence[float]) -> float | None:
        """Divide examples by time, not by a median: workers deliver in bursts."""
        total = sum(seconds)
        return self.plan.batch_size * len(seconds) / total if total else None
