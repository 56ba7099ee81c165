"""The timed loops. Whatever stands here is paid by every measurement, so nothing does that need not."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

from bench.core.record import Phase
from bench.device.step import Step
from bench.measure.clock import Clock

TRAINING_PHASES = (Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.OPTIMIZER)


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Collect garbage once, then keep the collector off inside; switch it back as it was."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def time_steps(step: Step, clock: Clock, count: int) -> tuple[list[float], list[float]]:
    """Time `count` whole steps, with marks between steps only.

    Returns:
        Seconds per step, and the host's seconds per step on an accelerator (else empty).
    """
    clock.start()
    for _ in range(count):
        step()
        clock.mark()
    return clock.collect()


def time_phases(step: Step, clock: Clock, count: int) -> tuple[dict[Phase, list[float]], dict[Phase, list[float]]]:
    """Time `count` steps with a mark at every phase border; the phases of a step follow without a gap.

    Returns:
        Seconds per phase, and the host's seconds per phase on an accelerator (else empty lists). An inference has the
        one phase FORWARD.
    """
    clock.start()
    if step.is_training:
        for _ in range(count):
            outputs = step.forward()
            clock.mark()
            loss = step.compute_loss(outputs)
            clock.mark()
            step.backward(loss)
            clock.mark()
            step.optimize()
            # A plain loop frees these while it computes the next ones; here their end falls into the same phase.
            del outputs, loss
            clock.mark()
    else:
        for _ in range(count):
            step.forward()
            clock.mark()
    phases = TRAINING_PHASES if step.is_training else (Phase.FORWARD,)
    seconds, host_seconds = clock.collect()
    return _by_phase(seconds, phases), _by_phase(host_seconds, phases)


def _by_phase(seconds: list[float], phases: tuple[Phase, ...]) -> dict[Phase, list[float]]:
    return {phase: seconds[index :: len(phases)] for index, phase in enumerate(phases)}
