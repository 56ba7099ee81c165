"""A step that computes nothing and takes the time that was written down."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bench.core.record import Phase

_TRAINING = (Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.OPTIMIZER)


class FakeLoss:
    """Stands in for a scalar tensor where only its value is read."""

    def __init__(self, value: float, read: Callable[[], object] = lambda: None) -> None:
        self._value, self._read = value, read

    def detach(self) -> FakeLoss:
        """Return itself; there is no graph."""
        return self

    def __float__(self) -> float:
        self._read()
        return self._value


class ScriptedStep:
    """Has the methods of `bench.device.step.Step`; every phase passes its scripted seconds to `advance`.

    Attributes:
        ran: What was called, in order: phases, and STEP for each whole step.
    """

    def __init__(
        self,
        advance: Callable[[float], None],
        seconds: Mapping[Phase, float | Iterable[float]],
        *,
        loss: float = 1.0,
        mark_seconds: float = 0.0,
        read: Callable[[], object] = lambda: None,
    ) -> None:
        """Write the script.

        Args:
            advance: Of the fake clock or accelerator.
            seconds: Per phase, one value or a cycle of them. FORWARD alone makes an inference. STEP, where given, is
                what a whole step takes; else the sum of its phases.
            loss: Value of every loss.
            mark_seconds: Added to each phase when phases run one by one: what splitting a step costs.
            read: Called where a loss's value is read, which waits for an accelerator.
        """
        self._advance = advance
        self._script = {
            phase: itertools.cycle([taken] if isinstance(taken, int | float) else list(taken))
            for phase, taken in seconds.items()
        }
        self._loss = FakeLoss(loss, read)
        self._mark_seconds = mark_seconds
        self.is_training = Phase.BACKWARD in seconds
        self.scaler = self.fallback_mode = None
        self.ran: list[Phase] = []

    def forward(self) -> str:
        """Take the time of FORWARD."""
        self._run(Phase.FORWARD)
        return "outputs"

    def compute_loss(self, _outputs: Any) -> FakeLoss:
        """Take the time of LOSS."""
        self._run(Phase.LOSS)
        return self._loss

    def backward(self, _loss: Any) -> None:
        """Take the time of BACKWARD."""
        self._run(Phase.BACKWARD)

    def optimize(self) -> None:
        """Take the time of OPTIMIZER."""
        self._run(Phase.OPTIMIZER)

    def __call__(self) -> FakeLoss | None:
        """Take the time of a whole step."""
        self.ran.append(Phase.STEP)
        if Phase.STEP in self._script:
            self._advance(next(self._script[Phase.STEP]))
        else:
            for phase in _TRAINING if self.is_training else (Phase.FORWARD,):
                self._advance(next(self._script[phase]))
        return self._loss if self.is_training else None

    def _run(self, phase: Phase) -> None:
        self.ran.append(phase)
        self._advance(next(self._script[phase]) + self._mark_seconds)
