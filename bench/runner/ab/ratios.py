"""Measure ratios of times between two cells: two live workers, one per cell, in sessions of `bench ab`.

The two cells are the two arms: the reference stands where `ab` has the base, the subject where it has the head, both
from the code that lies here. So drifts cancel within quads, every session is a fresh pair of processes, and a ratio is
judged by its sessions, never by two runs one after the other.

    sessions   fresh pairs, random start order, ABBA or BAAB by coin           (bench.runner.ab.stages)
    interval   of the median of the session values, between order statistics              (bench.stats.signflip)
    p          signs of the sessions about the documented value, times the number of claims

Two cells are no exchangeable copies as two commits of one code are, so their ratio may be skewed: signs assume nothing
about its shape.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.claims import is_timed, judge_time, unmeasured
from bench.core.cell import Cell
from bench.core.claim import CheckedClaim, Claim, ClaimVerdict
from bench.core.environment import Environment, MachineState
from bench.core.estimate import Estimate
from bench.device.backend import is_accelerator
from bench.runner.ab.arm import Arm, Built, LiveArm, Reading, Visit
from bench.runner.ab.judging import Fate, columns_of
from bench.runner.ab.servers import Servers
from bench.runner.ab.session import StartArm
from bench.runner.ab.sides import Side
from bench.runner.ab.stages import Comparing, Judged, Listener, Settings
from bench.stats.signflip import median_interval, sign_p

SESSIONS = 9
"""Planned and looked at once: of 9, a direction of one claim is shown at p = 0.02 where all but one agree."""


class PairArm:
    """A worker that builds its own cell where a session names a pair."""

    def __init__(self, arm: Arm, own: dict[str, Cell]) -> None:
        self._arm = arm
        self._own = own

    def start_build(self, cell: Cell, slow: float = 0.0, every: int = 1) -> None:
        """Begin to build this side's cell of the pair."""
        self._arm.start_build(self._own[cell.key], slow, every)

    def finish_build(self) -> Built:
        """Wait until it is built."""
        return self._arm.finish_build()

    def visit(self, steps: int) -> Visit:
        """Time a block of steps."""
        return self._arm.visit(steps)

    def read(self, gpu_uuid: str | None = None) -> Reading:
        """Read the kernel's counters, and those of the device."""
        return self._arm.read(gpu_uuid)

    def state(self, before: Reading, after: Reading, gpu_uuid: str | None) -> MachineState:
        """Derive the machine's state."""
        return self._arm.state(before, after, gpu_uuid)

    def free(self) -> None:
        """Drop what was built."""
        self._arm.free()

    def close(self) -> None:
        """End the worker."""
        self._arm.close()


def check_times(
    claims: Sequence[Claim],
    *,
    settings: Settings | None = None,
    device: str = "cpu",
    listen: Listener = lambda _: None,
    start: StartArm | None = None,
    environments: dict[str, Environment] | None = None,
) -> tuple[CheckedClaim, ...]:
    """Measure and judge claims of time, in their order; takes minutes.

    Args:
        claims: With `step_seconds`.
        settings: Sessions, quads, seed; all sessions are taken.
        device: Where both cells run.
        listen: Told when a session ends.
        start: Starts the worker of a side; a seam for tests, with `environments` by device.
        environments: Environments of the devices; asked of a worker where `start` is not given.

    Raises:
        ArmError: No worker can be started, or the device is not there.
    """
    assert all(is_timed(claim) for claim in claims)
    settings = replace(settings or Settings(sessions=SESSIONS), stops=False)
    pairs = {pair_of(claim, device): claim for claim in claims}
    if not pairs:
        return ()
    own = {pair: (_placed(claim.reference_cell, device), _placed(claim.cell, device)) for pair, claim in pairs.items()}
    judged = measure_pairs(own, settings, device=device, listen=listen, start=start, environments=environments)
    return judge_times(claims, device, judged, settings.threshold.alpha / 2)


def measure_pairs(
    pairs: Mapping[Cell, tuple[Cell, Cell]],
    settings: Settings,
    *,
    device: str,
    listen: Listener = lambda _: None,
    start: StartArm | None = None,
    environments: dict[str, Environment] | None = None,
    offsets: dict[str, float] | None = None,
) -> Judged:
    """Let two cells of the code that lies here take turns, for every pair.

    Args:
        pairs: The cell that stands for the pair, to the cells of base and head.
        settings: Settings of the sessions.
        device: Where all run.
        listen: Told when a session ends.
        start: Starts the worker of a side; a seam for tests, with `environments` by device.
        environments: Environments of the devices; asked of a worker where `start` is not given.
        offsets: The log-ratio that counts as no change, by key of a pair.

    Raises:
        ArmError: No worker can be started, or the device is not there.
    """
    own = {
        name: {pair.key: cells[index] for pair, cells in pairs.items()} for index, name in enumerate(("base", "head"))
    }
    fates: dict[str, Fate] = {}
    started = time.monotonic()
    deadline = settings.deadline(started)
    with contextlib.ExitStack() as stack:

        def renew() -> None:
            return None

        if start is None:
            side = _here()
            environments, fates = _look(side, pairs, device, deadline)
            sides = {name: replace(side, name=name) for name in own}
            is_bound, is_cold = not is_accelerator(device), settings.cold_cache
            servers = stack.enter_context(
                Servers(sides, is_bound=is_bound, forks=settings.forks, is_cold=is_cold, deadline=deadline)
            )
            start, renew = servers.start, servers.renew
        begin = start
        return Comparing(
            tuple(pairs),
            settings,
            lambda name: PairArm(begin(name), own[name]),
            fates=fates,
            environments=environments,
            listen=listen,
            started=started,
            renew=renew,
            offsets=offsets,
        ).run()


def judge_times(claims: Sequence[Claim], device: str, judged: Judged, alpha: float) -> tuple[CheckedClaim, ...]:
    """Judge every claim by the sessions of its pair; p-values are adjusted for all claims together.

    `alpha` is of one direction; both are looked at.
    """
    errors = {comparison.cell_key: dict(comparison.facts).get("error") for comparison in judged.comparisons}
    checked = []
    for claim in claims:
        pair = pair_of(claim, device)
        shifts, _ = columns_of(judged.sessions, pair)
        if not shifts or errors.get(pair.key) is not None:
            reason = errors.get(pair.key) or judged.unfit or "no session counted"
            checked.append(unmeasured(claim, str(reason)))
            continue
        bound = math.log(_bound(claim))
        p_above, p_below = sign_p(shifts, bound), sign_p([-shift for shift in shifts], -bound)
        p_above, p_below = (min(1.0, len(claims) * p) for p in (p_above, p_below))
        one = judge_time(claim, _ratio(shifts), p_below=p_below, p_above=p_above, alpha=alpha)
        if judged.unfit and one.verdict is not ClaimVerdict.UNMEASURED:
            one = replace(one, verdict=ClaimVerdict.INCONCLUSIVE, reason=judged.unfit)
        checked.append(one)
    return tuple(checked)


def pair_of(claim: Claim, device: str) -> Cell:
    """Name the pair of a claim as the cell of a session; two claims about one pair share its sessions."""
    subject, reference = _placed(claim.cell, device), _placed(claim.reference_cell, device)
    is_other_model_only = replace(reference, model=subject.model) == subject
    return replace(subject, model=f"{subject.model} : {reference.model if is_other_model_only else reference.id}")


def _placed(cell: Cell | None, device: str) -> Cell:
    assert cell is not None
    return replace(cell, device=device)


def _bound(claim: Claim) -> float:
    assert not isinstance(claim.value, tuple)
    return float(claim.value)


def _ratio(shifts: Sequence[float]) -> Estimate:
    """Turn the median of log-ratios into a ratio of times."""
    shift = median_interval(shifts)
    low, high = (None if end is None else math.exp(end) for end in (shift.low, shift.high))
    return replace(shift, point=math.exp(shift.point), low=low, high=high, method=f"exp of the {shift.method}")


def _here() -> Side:
    """Return the code that lies here, for both sides."""
    folder = Path.cwd()
    return Side(name="head", given=".", folder=folder, root=folder)


def environment_here(device: str) -> Environment:
    """Ask a worker for the environment of a device.

    Raises:
        ArmError: No worker can be started, or the device is not there.
    """
    environments, _ = _look(_here(), {}, device)
    return environments[device]


def _look(
    side: Side, pairs: Mapping[Cell, tuple[Cell, Cell]], device: str, deadline: float | None = None
) -> tuple[dict[str, Environment], dict[str, Fate]]:
    """Ask one worker for the environment, and which cells this device cannot do."""
    arm = LiveArm(side, deadline=deadline)
    try:
        arm.hello()
        found = arm.describe([device], [cell for cells in pairs.values() for cell in cells])
    finally:
        arm.close()
    fates = {}
    for pair, cells in pairs.items():
        reason = next((found.unfit[cell.key] for cell in cells if found.unfit[cell.key] is not None), None)
        if reason is not None:
            fates[pair.key] = Fate(side="both", reason=reason)
    return {device: found.environments[found.devices[device]]}, fates
