"""The timed loops. Whatever stands here is paid by every measurement, so nothing does that need not.

Whom a timed step has to wait for: nobody, or the other ranks of its cell.

The timed part of an A/B session: warm a step up once, then time visits of it, each a few lines of work.
"""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Iterator
from typing import Protocol

from bench.core.progress import expect
from bench.core.record import UNMARKED, Phase, Sampling
from bench.device.backend import is_accelerator
from bench.device.gradients import MOST_SCALING_STEPS, read_scale
from bench.device.step import LongStep, Marks, OwnStep, Step
from bench.measure.clock import Clock
from bench.stats.stopping import STARTING_STEPS, WarmupRule

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


def time_steps(step: Step, clock: Clock, count: int, *, lead_in: bool = False) -> tuple[list[float], list[float]]:
    """Time `count` whole steps, with marks between steps only.

    A lead-in is one more, not timed: the first step after a pause pays for cold caches or an empty queue.

    Returns:
        Seconds per step, and the host's seconds per step on an accelerator (else empty).
    """
    clock.start(step if lead_in else None)
    for _ in range(count):
        step()
        clock.end_step()
    return clock.collect()


Seconds = dict[Phase | str, list[float]]


def time_phases(step: Step, clock: Clock, count: int, *, lead_in: bool = False) -> tuple[Seconds, Seconds]:
    """Time `count` steps with a mark at every phase border; the phases of a step follow without a gap.

    The lead-in as in `time_steps`.

    Returns:
        Seconds per phase, and the host's seconds per phase on an accelerator (else empty lists). An inference has the
        one phase FORWARD.
    """
    if isinstance(step, LongStep | OwnStep):
        return _time_marked(step, clock, count, lead_in)
    clock.start(step if lead_in else None)
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
            clock.end_step()
    else:
        for _ in range(count):
            step.forward()
            clock.end_step()
    phases = TRAINING_PHASES if step.is_training else (Phase.FORWARD,)
    seconds, host_seconds = clock.collect()
    return _by_phase(seconds, phases), _by_phase(host_seconds, phases)


def _by_phase(seconds: list[float], phases: tuple[Phase, ...]) -> Seconds:
    return {phase: seconds[index :: len(phases)] for index, phase in enumerate(phases)}


def _time_marked(step: LongStep | OwnStep, clock: Clock, count: int, lead_in: bool) -> tuple[Seconds, Seconds]:
    """Time steps that mark their phases themselves: a mark where one begins, and one where it ends.

    Phases that come several times in a step add up; in a step without it a phase took 0. What a step of one's own does
    between its phases is a phase, too.
    """
    borders: list[Phase | str] = []

    def begin(_: Phase | str) -> None:
        clock.mark()
        borders.append(UNMARKED)

    def end(phase: Phase | str) -> None:
        clock.mark()
        borders.append(phase)

    marks = Marks(begin, end)
    clock.start(step if lead_in else None)
    for _ in range(count):
        step.split(marks)
        clock.end_step()
        borders.append(Phase.STEP)
    names = [name for name in dict.fromkeys(borders) if name not in (Phase.STEP, UNMARKED)]
    if isinstance(step, OwnStep):
        names.append(UNMARKED)
    seconds, host_seconds = clock.collect()
    return _add_up(seconds, borders, names), _add_up(host_seconds, borders, names)


def _add_up(seconds: list[float], borders: list[Phase | str], names: list[Phase | str]) -> Seconds:
    found: Seconds = {name: [] for name in names}
    if not seconds:
        return found
    step: dict[Phase | str, float] = {}
    for taken, border in zip(seconds, borders, strict=True):
        name = UNMARKED if border is Phase.STEP else border
        step[name] = step.get(name, 0.0) + taken
        if border is Phase.STEP:
            for each in names:
                found[each].append(step.get(each, 0.0))
            step = {}
    return found


class Team(Protocol):
    """The ranks that take the same steps; asked between blocks only, never inside a timed one."""

    def wait(self) -> None:
        """Wait until every rank is here."""

    def agree(self, seconds: list[float]) -> list[float]:
        """Return the seconds of the steps just taken, of all ranks as one: the same floats on every rank.

        Whatever decides how many steps follow looks at these only, or the ranks would part.
        """


class Alone:
    """A step of one process."""

    def wait(self) -> None:
        """Wait for nobody."""

    def agree(self, seconds: list[float]) -> list[float]:
        """Return them as they are."""
        return seconds


LEAD_IN_FROM = 5
"""A visit of at least so many steps begins with one that is not timed: it finds the caches as the other side left them.

With fewer, longer steps on a CPU that step would cost more than it gains, and both sides pay alike.
"""

ACCELERATOR_WARMUP_SECONDS = 1.0
"""An accelerator's clock needs about a second of work to settle."""

WARMUP_BLOCK_SECONDS = 0.05
"""Of a least duration so much is run at once: one by one, short steps would leave an accelerator idle between them."""

EXPECTED_STEPS = 30
"""Twice as many as a cell of long steps takes: 3 to warm up, 5 whole, 5 split and one for the loss."""

WARMUP_BUDGET_SECONDS = 3.0
"""A warm-up before visits that has its least number of steps ends here, settled or not; its first step does not count.
"""


def warm_up(step: Step, clock: Clock, device: str) -> list[float]:
    """Warm up before visits, whose budget is not known yet; an accelerator gets at least a second of work."""
    least_seconds = ACCELERATOR_WARMUP_SECONDS if is_accelerator(device) else 0.0
    sampling = Sampling(budget_seconds=WARMUP_BUDGET_SECONDS, min_warmup_seconds=least_seconds)
    return warm_up_until_steady(step, clock, sampling)


def warm_up_until_steady(step: Step, clock: Clock, sampling: Sampling, team: Team | None = None) -> list[float]:
    """Run steps until they settle; long steps are cut short by the budget. Returns the seconds of each.

    In fp16-amp it continues until what was run last has updated the weights in every step.
    """
    team = team or Alone()
    rule = WarmupRule(sampling)
    seconds: list[float] = []
    is_scaling = False
    while not rule.is_finished or (is_scaling and len(seconds) < sampling.max_warmup_steps + MOST_SCALING_STEPS):
        scale = read_scale(step)
        team.wait()
        own, _ = time_steps(step, clock, _steps_at_once(seconds, sampling))
        new = team.agree(own)
        if not seconds:  # a process is not ended because its steps are long
            expect(EXPECTED_STEPS * sum(new))
        seconds += new
        rule.add(new)
        is_scaling = read_scale(step) != scale
        # The first step may compile for a minute; that is no reason to stop after it.
        is_late = sum(seconds[1:]) > max(sampling.budget_seconds, sampling.min_warmup_seconds)
        if is_late and not is_scaling and len(seconds) >= sampling.min_warmup_steps:
            break
    return seconds


def _steps_at_once(seconds: list[float], sampling: Sampling) -> int:
    """Return how many steps to run before looking again: several while only the least duration is missing."""
    if len(seconds) < max(STARTING_STEPS, sampling.min_warmup_steps):
        return 1
    missing = sampling.min_warmup_seconds - sum(seconds[STARTING_STEPS:])
    return max(1, math.ceil(min(missing, WARMUP_BLOCK_SECONDS) / max(seconds[-1], 1e-6)))


def time_visit(step: Step, clock: Clock, steps: int) -> list[float]:
    """Time one uninterrupted block of steps; garbage collection must be off already."""
    lead_in = steps >= LEAD_IN_FROM or clock.name == "device"
    return time_steps(step, clock, steps, lead_in=lead_in)[0]
