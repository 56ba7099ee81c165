"""Workers that take exactly as long as they are told, and machines in whatever state a test needs."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.core.cell import Cell
from bench.core.environment import MachineState
from bench.runner.ab.arm import Built, Reading, Visit

STEP_SECONDS = 0.001
QUIET = MachineState(other_busy_cores=0.0, steal_fraction=0.0, involuntary_switches=0)
BUSY = MachineState(other_busy_cores=1000.0, steal_fraction=0.0, involuntary_switches=0)


def cell(model: str) -> Cell:
    return Cell(model=model, batch_size=8)


@dataclass
class FakeMachine:
    """Starts fake workers and remembers all they did.

    Attributes:
        speed: Seconds per step of a cell on a side, relative to `STEP_SECONDS`.
        process_noise: Each process draws its own speed from this log-normal spread.
        state: Of the machine in the n-th measurement, counted from 0.
        step_factor: Drawn anew for every step of a visit.
        misbehave: Called before every build and visit; may raise what a worker would.
    """

    speed: Callable[[str, str], float] = lambda _side, _model: 1.0
    process_noise: float = 0.005
    state: Callable[[int], MachineState] = lambda _index: QUIET
    step_factor: Callable[[str], float] = lambda _side: 1.0
    misbehave: Callable[[str, str, str], None] = lambda _side, _model, _what: None
    stamp: Callable[[], str] = lambda: "never edited"
    seed: int = 1
    started: list[str] = field(default_factory=list)
    closed: int = 0
    visits: list[tuple[str, str, int]] = field(default_factory=list)
    measurements: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def start(self, side: str) -> FakeArm:
        self.started.append(side)
        return FakeArm(self, side, self.random.lognormvariate(0, self.process_noise))


class FakeArm:
    def __init__(self, machine: FakeMachine, side: str, luck: float) -> None:
        self.machine, self.side, self.luck = machine, side, luck
        self.is_closed = False
        self.model = ""
        self.slow = 0.0

    def start_build(self, cell: Cell, slow: float = 0.0, every: int = 1) -> None:
        self.model, self.slow = cell.model, slow

    def finish_build(self) -> Built:
        self.machine.misbehave(self.side, self.model, "build")
        return Built(
            step_seconds=self._seconds(),
            added_seconds=self.slow * STEP_SECONDS,
            sources=(("net.py", self.machine.stamp()),),
        )

    def visit(self, steps: int) -> Visit:
        self.machine.misbehave(self.side, self.model, "visit")
        self.machine.visits.append((self.side, self.model, steps))
        return Visit(seconds=tuple(self._seconds() * self.machine.step_factor(self.side) for _ in range(steps)))

    def read(self, gpu_uuid: str | None = None) -> Reading:
        return {"own_seconds": 0.0, "involuntary_switches": 0.0}

    def state(self, before: Reading, after: Reading, gpu_uuid: str | None) -> MachineState:
        self.machine.measurements += 1
        return self.machine.state(self.machine.measurements - 1)

    def free(self) -> None:
        self.model = ""

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.machine.closed += 1

    def _seconds(self) -> float:
        return STEP_SECONDS * self.machine.speed(self.side, self.model) * self.luck * (1 + self.slow)
