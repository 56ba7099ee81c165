"""Bytes that each layer and each operation touches in each phase of one step, read off the step without a clock."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from bench.core.profile import GRADIENTS, LOSS, OPTIMIZER, UNATTRIBUTED
from bench.core.record import Phase
from bench.counters.build import whole
from bench.counters.dispatches import is_counted, touched_bytes
from bench.counters.fakes import without_collector
from bench.counters.modes import OperationMode
from bench.counters.modules import ModuleTracker
from bench.device.step import Marks, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Bytes touched; both columns sum to what `bench.counters.dispatches` counts of the step.

    Attributes:
        layers: Costs by phase and layer.
        operators: Costs by operation, named as by torch's profiler.
    """

    layers: dict[tuple[Phase | str, str], int]
    operators: dict[str, int]

    @property
    def bytes_touched(self) -> int:
        """Of the whole step."""
        return sum(self.layers.values())


def count_work(step: Step) -> Work:
    """Count one step, real or fake; run another one before, or the optimizer's first step is counted."""
    tracker = ModuleTracker(whole(step.networks))
    whereabouts = Whereabouts(tracker)
    work = _WorkCounter(whereabouts)
    with without_collector(), tracker.track(), work:
        run_phases(step, whereabouts)
    return Work(layers=dict(work.layers), operators=dict(work.operators))


class Whereabouts:
    """Knows the phase under way and the layer within it.

    Attributes:
        phase: The phase under way.
        updates: Steps of optimizers under way.
    """

    def __init__(self, tracker: ModuleTracker) -> None:
        self.phase: Phase | str = Phase.FORWARD
        self.updates = 0
        self._tracker = tracker

    def current_layer(self) -> str:
        """Name the row that the operation being dispatched belongs to."""
        if self.phase is Phase.OPTIMIZER:
            return OPTIMIZER
        layer = self._tracker.current_layer()
        is_own = not isinstance(self.phase, Phase)
        if is_own and self.updates and layer == LOSS:  # in no module: the update, not what its closure evaluates
            return OPTIMIZER
        return GRADIENTS if layer == UNATTRIBUTED and (is_own or self.phase is Phase.BACKWARD) else layer


def run_phases(step: Step, phases: Whereabouts) -> None:
    """Run one step as `Step.__call__` does, telling of its phases and, within a phase of its own, of its updates."""

    def begin(phase: Phase | str) -> None:
        phases.phase = phase

    def enter(*_: Any) -> None:
        phases.updates += 1

    def leave(*_: Any) -> None:
        phases.updates -= 1

    entering, leaving = register_optimizer_step_pre_hook(enter), register_optimizer_step_post_hook(leave)
    try:
        step.split(Marks(begin))
    finally:
        entering.remove()
        leaving.remove()


class _WorkCounter(OperationMode):  # type: ignore[no-untyped-call]
    def __init__(self, phases: Whereabouts) -> None:
        super().__init__()
        self.layers: Counter[tuple[Phase | str, str]] = Counter()
        self.operators: Counter[str] = Counter()
        self._phases = phases

    def operate(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        outputs = func(*args, **kwargs)
        if is_counted(func):
            size = touched_bytes(func, (args, kwargs), outputs)
            self.layers[self._phases.phase, self._phases.current_layer()] += size
            self.operators[profiler_name(func)] += size
        return outputs


def profiler_name(func: Any) -> str:
    """Name an operation as torch's profiler does: `aten::mm`."""
    return f"{func.namespace}::{func.overloadpacket.__name__}"
