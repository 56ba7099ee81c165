"""Look before timing: is the machine quiet? One worker per side then resolves every model and counts its work."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.core.advice import Facts
from bench.core.cell import Cell, CompileMode
from bench.core.environment import BUSY_CORES_LIMIT, Environment
from bench.core.errors import IncomparableError
from bench.core.progress import tell
from bench.core.units import format_bytes, format_duration
from bench.device.environment import look
from bench.runner.ab.arm import ArmDiedError, ArmError, Counted, LiveArm
from bench.runner.ab.judging import Fate, Work
from bench.runner.ab.session import StartArm
from bench.runner.ab.sides import Side
from bench.runner.counting import workspaces_of

_TELL_SECONDS = 20.0


def wait_for_quiet(
    patience_seconds: float | None,
    tell: Callable[[str], None],
    *,
    follows: str = "--wait 5m waits until the machine is quiet",
    busy_cores: Callable[[], float | None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Say at once and every 20 s that other work keeps cores busy, and wait until it does not.

    A patience of None measures at once, and says what `follows`. `busy_cores`, which watches the machine for a while,
    and `clock` are seams for tests.

    Raises:
        IncomparableError: The machine stayed busy.
    """
    watch = busy_cores or (lambda: look().other_busy_cores)
    started = told = clock()
    is_first = True
    while (busy := watch()) is not None and busy > BUSY_CORES_LIMIT:
        if patience_seconds is None:
            tell(f"other work keeps {busy:.1f} cores busy; {follows}")
            return
        left = patience_seconds - (clock() - started)
        if left <= 0:
            raise IncomparableError(
                f"the machine did not become quiet in {format_duration(patience_seconds)}: other work keeps "
                f"{busy:.1f} cores busy; end it, or measure without --wait"
            )
        if is_first or clock() - told >= _TELL_SECONDS:
            is_first, told = False, clock()
            tell(f"other work keeps {busy:.1f} cores busy; waiting for quiet, {format_duration(left)} at most")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scouted:
    """What is known before anything is timed.

    Attributes:
        cells: With full device names.
        environments: Environments by side, then by device.
        fates: Why a cell cannot be compared, by cell key.
        work: What counting found, by cell key.
    """

    cells: tuple[Cell, ...]
    environments: dict[str, dict[str, Environment]]
    fates: dict[str, Fate]
    work: dict[str, Work]


def scout(
    base: Side,
    head: Side,
    cells: Sequence[Cell],
    start: StartArm,
) -> Scouted:
    """Ask both sides' workers, which `start` starts, about every cell.

    Raises:
        BenchError: A side's interpreter cannot run a worker at all, or a device is not there.
        TimeUpError: The time of the comparison is over.
    """
    devices = list(dict.fromkeys(cell.device for cell in cells))
    with contextlib.ExitStack() as stack:
        workers = {side.name: _Worker(side.name, stack, start) for side in (base, head)}
        for worker in workers.values():
            worker.arm.hello()
        described = {name: worker.arm.describe(devices, list(cells)) for name, worker in workers.items()}
        names = described["head"].devices
        unfit = described["head"].unfit | {key: r for key, r in described["base"].unfit.items() if r is not None}
        completed: list[Cell] = []
        fates: dict[str, Fate] = {}
        work: dict[str, Work] = {}
        for done, cell in enumerate(cells):
            tell("counting", done, len(cells))
            whole = replace(cell, device=names[cell.device])
            if whole in completed:
                continue
            completed.append(whole)
            reason = unfit.get(cell.key)
            if reason is not None:
                fates[whole.key] = Fate(side="both", reason=reason)
                continue
            counted = {name: worker.count(whole) for name, worker in workers.items()}
            uuid = described["head"].environments[whole.device].gpu_uuid
            free = [room for one in described.values() if (room := one.free[whole.device]) is not None]
            fate = _fate(counted) or _fate_together(whole, counted, uuid, min(free, default=None))
            if fate is not None:
                fates[whole.key] = fate
            elif isinstance(counted["base"], Counted) and isinstance(counted["head"], Counted):
                is_same_python = base.python == head.python
                work[whole.key] = compare_work(counted["base"], counted["head"], is_same_python=is_same_python)
    return Scouted(
        cells=tuple(completed),
        environments={name: one.environments for name, one in described.items()},
        fates=fates,
        work=work,
    )


def compare_work(base: Counted, head: Counted, *, is_same_python: bool) -> Work:
    """Compare exact counts: every difference is a fact; other parameters are other work."""
    facts: Facts = ()
    for name, one in (("base", base), ("head", head)):
        if one.not_counted is not None:
            facts += ((f"not_counted_{name}", one.not_counted),)
    if is_same_python and not base.is_inside and not head.is_inside:
        facts += (("same_code", base.source_file or "unknown"),)
    ours, theirs = base.counters, head.counters
    if ours is None or theirs is None:
        return Work(facts=facts)
    for name in ours:
        before, after = ours[name], theirs[name]
        if before != after and before is not None and after is not None:
            facts += ((f"{name}_base", before), (f"{name}_head", after))
    is_same = all(ours[name] == theirs[name] for name in ("parameters", "trainable_parameters"))
    return Work(facts=facts, is_same=is_same)


class _Worker:
    """A worker that is started again for the next cell if one killed it."""

    def __init__(self, side: str, stack: contextlib.ExitStack, start: StartArm) -> None:
        self._side, self._stack, self._start = side, stack, start
        self.arm = self._begin()

    def count(self, cell: Cell) -> Counted | ArmError:
        """Count a cell, or return why not."""
        try:
            return self.arm.count(cell)
        except ArmDiedError as error:
            self.arm.close()
            self.arm = self._begin()
            return error
        except ArmError as error:
            return error

    def _begin(self) -> LiveArm:
        arm = self._start(self._side)
        self._stack.callback(arm.close)
        return arm


def _fate(counted: dict[str, Counted | ArmError]) -> Fate | None:
    """Name which side cannot have the cell."""
    errors = {name: one for name, one in counted.items() if isinstance(one, ArmError)}
    if not errors:
        return None
    first = errors.get("head") or errors["base"]
    return Fate(side="both" if len(errors) == 2 else first.side, reason=first.reason)


def _fate_together(
    cell: Cell, counted: dict[str, Counted | ArmError], gpu_uuid: str | None, free: int | None
) -> Fate | None:
    """Refuse a cell whose two sides do not fit beside each other; compiled ones need less than is predicted."""
    needs = [one.predicted_bytes for one in counted.values() if isinstance(one, Counted)]
    if free is None or cell.compile is not CompileMode.NONE or cell.world_size > 1:
        return None
    if (together := sum(need + workspaces_of(cell, gpu_uuid) for need in needs if need is not None)) <= free:
        return None
    words = f"both sides together need {format_bytes(together)}, and {cell.device} has {format_bytes(free)} free"
    return Fate(side="both", reason=words)
