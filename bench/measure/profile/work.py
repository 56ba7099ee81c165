"""Bytes that each layer and each operation touches in each phase of one step, read off the step without a clock."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from bench.core.cell import Cell
from bench.core.profile import GRADIENTS, OPTIMIZER, UNATTRIBUTED
from bench.core.record import Phase
from bench.core.workload import Workload
from bench.counters.dispatches import is_counted, touched_bytes
from bench.counters.fakes import fake_step, without_collector
from bench.counters.modes import OperationMode
from bench.counters.modules import ModuleTracker
from bench.device.marks import Marks
from bench.device.step import Step


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


def count_work(workload: Workload, cell: Cell) -> Work:
    """Count a steady step on fake tensors.

    Raises:
        ModelError: The step reads the value of a tensor.
    """
    with fake_step(workload, cell) as step:
        step()
        return count_step_work(step)


def count_step_work(step: Step) -> Work:
    """Count one step, real or fake; run another one before, or the optimizer's first step is counted."""
    tracker = ModuleTracker(step.model)
    whereabouts = Whereabouts(tracker)
    work = _WorkCounter(whereabouts)
    with without_collector(), tracker.track(), work:
        run_phases(step, whereabouts)
    return Work(layers=dict(work.layers), operators=dict(work.operators))


class Whereabouts:
    """Knows the phase under way and the layer within it."""

    def __init__(self, tracker: ModuleTracker) -> None:
        self.phase: Phase | str = Phase.FORWARD
        self._tracker = tracker

    def current_layer(self) -> str:
        """Name the row that the operation being dispatched belongs to."""
        if self.phase is Phase.OPTIMIZER:
            return OPTIMIZER
        layer = self._tracker.current_layer()
        return GRADIENTS if self.phase is Phase.BACKWARD and layer == UNATTRIBUTED else layer


def run_phases(step: Step, phases: Whereabouts) -> None:
    """Run one step as `Step.__call__` does, telling of its phases."""

    def begin(phase: Phase | str) -> None:
        phases.phase = phase

    step.split(Marks(begin))


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
