"""One A/B session: a fresh pair of workers, every cell of the suite in random order, quads of visits by coin.

session (seeded):  coin: which side's worker is started first        cells in random order
    for each cell: both workers build and warm it up, at the same time on a CPU, since nothing is timed then
        one quad that is thrown away tells how long a step takes; on an accelerator the warm-up did
        quad x n:  coin: base head head base, or head base base head      one visit = at least 25 ms of steps
        free it; the state of the machine over the quads says whether they count

Everything random comes from `random.Random(f"{seed}/session/{index}")`, so a run can be repeated draw for draw.

When a session is void: by the state of the machine while it ran, never by what it measured.

Dropping sessions by their outcome would make false alarms and hide true ones; dropping them by a state that hits both
sides alike does neither, it only saves the test's power. So the rules are few and coarse, for a machine on which no
step could be measured, not for ordinary noise:

    busy cores     the threads found fewer than (threads - 0.5) cores free: OpenMP then spins, and steps take 1.3 to 8
                   times as long
    steal          the hypervisor took more than 10 % of the time
    preempted      more than 500 involuntary switches per second: another task ran in every second time slice
    gpu clock      the GPU lowered its clock by temperature or by a fault (a power cap is ordinary, and hits both sides)
    gpu shared     somebody else computes on the GPU
"""

from __future__ import annotations

import math
import os
import random
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from bench.core.cell import Cell
from bench.core.comparison import Quad
from bench.core.environment import MachineState
from bench.device.backend import is_accelerator
from bench.runner.ab.arm import ArmDiedError, ArmError, ArmFullError, Built, LiveArm, Reading, TimeUpError
from bench.stats.shift import mean_shift, session_shift

FREE_CORES_SHORT = 0.5
STEAL_LIMIT = 0.10
SWITCHES_PER_SECOND = 500.0
GPU_CLOCK_REASONS = frozenset({"thermal", "hardware"})

MOST_VOID = 0.5
"""A comparison of whose sessions more than this share is void says more about the machine than about the code."""


def void_reason(state: MachineState, *, threads: int, machine_cores: int, seconds: float) -> str | None:
    """Return why a session's cell does not count; None if it does.

    Args:
        state: State of the machine, both workers counted as our own; `gpu_other_processes` is without the second.
        threads: Threads that a step uses.
        machine_cores: Cores of the whole machine, because others' load is of the whole machine, too.
        seconds: Time over which the state was observed.
    """
    busy = state.other_busy_cores
    if busy is not None and machine_cores - busy < threads - FREE_CORES_SHORT:
        return "busy cores"
    if state.steal_fraction is not None and state.steal_fraction > STEAL_LIMIT:
        return "steal"
    switches = state.involuntary_switches
    if switches is not None and seconds > 0 and switches / seconds > SWITCHES_PER_SECOND:
        return "preempted"
    if GPU_CLOCK_REASONS & set(state.gpu_throttle_reasons or ()):
        return "gpu clock"
    if state.gpu_other_processes:
        return "gpu shared"
    return None


BOTH_TOO_LARGE = "both sides together need more memory than the GPU has"

STAGE = "session"
"""Before version 2 of comparison.json: `screen`, `confirm` or `extend`."""

VISIT_SECONDS = 0.025
"""Half of every visit of 50 ms spread no more (mlp, 14 sessions 1.57 % against 1.46 %, 16 others 1.26 and 1.58 %)."""

MAX_VISIT_STEPS = 10_000

StartArm = Callable[[str], LiveArm]
"""Starts the worker of a side, `base` or `head`, without waiting for it; tests start a fake in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSession:
    """What one session gave for one cell.

    Attributes:
        quads: Raw, in the order taken; empty where a side failed.
        shift: Log-ratio head / base of the undisturbed step, or None without quads.
        mean_shift: The same of the mean.
        seconds: Time spent on the quads.
        build_seconds: Time to build and warm up both sides.
        added_seconds: What was added on purpose to every step of a slowed side, as the warm-up foresaw it.
        sources: Side, file and when it was last written, of all that were loaded.
        void: Why it does not count; None if it does.
        failed: Side that raised, `base` or `head`; the cell is not measured again.
        died: Side whose worker was killed; the session is void, and tried again.
        reason: What it raised, or how it died.
    """

    cell: Cell
    quads: tuple[Quad, ...] = ()
    shift: float | None = None
    mean_shift: float | None = None
    state: MachineState | None = None
    seconds: float = 0.0
    build_seconds: float = 0.0
    added_seconds: float = 0.0
    sources: tuple[tuple[str, str, str], ...] = ()
    void: str | None = None
    failed: str | None = None
    died: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbSession:
    """One fresh pair of workers and what it measured, in the order it was measured."""

    stage: str
    index: int
    first: str
    cells: tuple[CellSession, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPlan:
    """What is the same in all sessions of a run.

    Attributes:
        threads: What a step uses, by cell key.
        gpu_uuids: UUIDs of GPUs, by cell key.
        slow: Fraction by which a side is slowed down on purpose, by side.
        slow_every: One step in so many gets all of that.
        offsets: By cell key, the log-ratio that counts as no change: two batch sizes are compared per example.
        own: By side and cell key, what that side builds instead of the cell: of a pair, each its own.
        judges_state: False counts every session, whatever the machine did.
        is_over: Whether the time is up: then what is not measured to its end is left out.
    """

    seed: int
    quads: int
    threads: dict[str, int]
    gpu_uuids: dict[str, str | None]
    slow: dict[str, float]
    slow_every: int = 1
    offsets: dict[str, float] = field(default_factory=dict)
    own: dict[str, dict[str, Cell]] = field(default_factory=dict)
    judges_state: bool = True
    is_over: Callable[[], bool] = lambda: False


class _OverError(Exception):
    """The time is up in the middle of a cell."""


class _Pair:
    """Two live workers; `first` was started first."""

    def __init__(self, start: StartArm, first: str) -> None:
        second = "head" if first == "base" else "base"
        self.arms: dict[str, LiveArm] = {first: start(first)}
        try:
            self.arms[second] = start(second)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for arm in self.arms.values():
            arm.close()


def run_session(plan: SessionPlan, index: int, cells: Sequence[Cell], start: StartArm) -> AbSession:
    """Run one session over these cells. Workers are ended whatever happens, also by Ctrl-C.

    A side that raises costs only its cell. After that, and after a worker's death, a new pair serves what is left.
    """
    rng = random.Random(f"{plan.seed}/{STAGE}/{index}")
    started = time.perf_counter()
    first = rng.choice(("base", "head"))
    order = list(cells)
    rng.shuffle(order)
    measured: list[CellSession] = []
    pair: _Pair | None = None
    try:
        for cell in order:
            if plan.is_over():
                break
            try:
                pair = pair or _Pair(start, first)
                measured.append(_measure(plan, pair, cell, rng))
            except (_OverError, TimeUpError):
                break
            except ArmError as error:
                if pair is not None:
                    pair.close()
                    pair = None
                is_death = isinstance(error, ArmDiedError)
                # On one GPU both sides lie side by side: what does not fit is no failure of either.
                is_full = isinstance(error, ArmFullError) and is_accelerator(cell.device)
                measured.append(
                    CellSession(
                        cell=cell,
                        void=f"{error.side} died" if is_death else BOTH_TOO_LARGE if is_full else None,
                        died=error.side if is_death else None,
                        failed=None if is_death or is_full else error.side,
                        reason=error.reason,
                    )
                )
    finally:
        if pair is not None:
            pair.close()
    seconds = time.perf_counter() - started
    return AbSession(stage=STAGE, index=index, first=first, cells=tuple(measured), seconds=seconds)


def _measure(plan: SessionPlan, pair: _Pair, cell: Cell, rng: random.Random) -> CellSession:
    sides = ["base", "head"]
    rng.shuffle(sides)
    built = _build(plan, pair, cell, sides)
    # One number for both sides: a minimum over more steps is smaller.
    steps = _steps_of_a_visit(min(one.step_seconds for one in built.values()))
    if not is_accelerator(cell.device):
        # both sides warmed up at once, so their steps were no measure; four steps do not warm up all of them
        thrown = _quad(plan, pair, steps, head_first=False)
        steps = _steps_of_a_visit(min(second for visit in (*thrown.base, *thrown.head) for second in visit))
    started, uuid = time.perf_counter(), plan.gpu_uuids.get(cell.key)
    before = _read(pair, uuid)
    quads = tuple(_quad(plan, pair, steps, head_first=rng.random() < 0.5) for _ in range(plan.quads))
    after = _read(pair, uuid)
    seconds = time.perf_counter() - started
    state = _without_sibling(pair.arms["base"].state(before, after, uuid))
    for arm in pair.arms.values():
        arm.free()
    threads, cores = plan.threads.get(cell.key, 1), os.cpu_count() or 1
    void = void_reason(state, threads=threads, machine_cores=cores, seconds=seconds)
    return CellSession(
        cell=cell,
        quads=quads,
        shift=session_shift(quads) - plan.offsets.get(cell.key, 0.0),
        mean_shift=mean_shift(quads) - plan.offsets.get(cell.key, 0.0),
        state=state,
        seconds=seconds,
        build_seconds=sum(one.build_seconds for one in built.values()),
        added_seconds=sum(one.added_seconds for one in built.values()),
        sources=tuple((side, path, stamp) for side in ("base", "head") for path, stamp in built[side].sources),
        void=void if plan.judges_state else None,
    )


def _build(plan: SessionPlan, pair: _Pair, cell: Cell, sides: Sequence[str]) -> dict[str, Built]:
    """Build on both sides; on an accelerator one after the other, because its warm-up is timed."""
    built = {}
    for side in sides:
        own = plan.own.get(side, {}).get(cell.key, cell)
        pair.arms[side].start_build(own, plan.slow.get(side, 0.0), plan.slow_every)
        if is_accelerator(cell.device):
            built[side] = pair.arms[side].finish_build()
    return built or {side: pair.arms[side].finish_build() for side in sides}


def _steps_of_a_visit(step_seconds: float) -> int:
    return min(max(1, math.ceil(VISIT_SECONDS / max(step_seconds, 1e-9))), MAX_VISIT_STEPS)


def _quad(plan: SessionPlan, pair: _Pair, steps: int, *, head_first: bool) -> Quad:
    """Run four visits, ABBA or BAAB: a drift that is straight in time cancels."""
    if plan.is_over():
        raise _OverError
    outer, inner = ("head", "base") if head_first else ("base", "head")
    visits: dict[str, list[tuple[float, ...]]] = {"base": [], "head": []}
    clock = "host"
    for side in (outer, inner, inner, outer):
        visit = pair.arms[side].visit(steps)
        visits[side].append(visit.seconds)
        clock = visit.clock
    return Quad(base=tuple(visits["base"]), head=tuple(visits["head"]), clock=clock, head_first=head_first)


def _read(pair: _Pair, gpu_uuid: str | None) -> Reading:
    """Read the kernel's counters once, and add up what is our own: both workers, and this process."""
    base, head = pair.arms["base"].read(gpu_uuid), pair.arms["head"].read(gpu_uuid)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    parent = usage.ru_utime + usage.ru_stime
    return head | {
        "own_seconds": base["own_seconds"] + head["own_seconds"] + parent,
        "involuntary_switches": base["involuntary_switches"] + head["involuntary_switches"],
    }


def _without_sibling(state: MachineState) -> MachineState:
    """The other worker computes on the same GPU, and is no stranger."""
    if not state.gpu_other_processes:
        return state
    return replace(state, gpu_other_processes=state.gpu_other_processes - 1)
