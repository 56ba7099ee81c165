"""Compare two cells of the code that lies here, two models or two settings: for `bench ab` and for claims of time.

Two live workers, one per cell, in sessions of `bench ab`: the reference (A) stands where `ab` has the base, the subject
(B) where it has the head. So drifts cancel within quads, every session is a fresh pair of processes, and a ratio is
judged by its sessions, never by two runs one after the other.

    sessions   fresh pairs, random start order, ABBA or BAAB by coin           (bench.runner.ab.stages)
    interval   of the median of the session values, between order statistics              (bench.stats.signflip)
    p          of a claim: signs of the sessions about the documented value, times the number of claims

Two cells are no exchangeable copies as two commits of one code are, so their ratio may be skewed: the signs of claims
assume nothing about its shape. The sign flips of `bench ab` assume that the session values lie symmetric about the true
ratio, which two commits need not.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.claims.ratios import is_timed, judge_time, unmeasured
from bench.core.cell import Cell
from bench.core.claim import CheckedClaim, Claim, ClaimVerdict
from bench.core.environment import Environment
from bench.core.errors import NothingMeasuredError, UsageError
from bench.core.estimate import Estimate
from bench.device.backend import is_accelerator
from bench.device.clocks import locked_environments
from bench.runner.ab.arm import LiveArm
from bench.runner.ab.judging import Fate, columns_of
from bench.runner.ab.run import Compared, to_document, write_session
from bench.runner.ab.servers import Servers
from bench.runner.ab.session import StartArm
from bench.runner.ab.sides import Side
from bench.runner.ab.stages import Comparing, Judged, Listener, Progress, Settings
from bench.runner.records import open_run
from bench.runner.session import plan_targets
from bench.stats.signflip import median_interval, sign_p
from bench.store.atomic import make_folder
from bench.store.codec import write_json
from bench.store.stored import COMPARISON_FILE
from bench.suite.axes import axes_of
from bench.suite.sweep import RUN_ONLY, cell_of, refuse_idle

SESSIONS = 9
"""Planned and looked at once: of 9, a direction of one claim is shown at p = 0.02 where all but one agree."""


def check_times(
    claims: Sequence[Claim],
    *,
    settings: Settings | None = None,
    device: str = "cpu",
    listen: Listener = lambda _: None,
    start: StartArm | None = None,
    environments: dict[str, Environment] | None = None,
) -> tuple[CheckedClaim, ...]:
    """Measure and judge claims of time, in their order; takes minutes, because all sessions are taken.

    Arguments as for `measure_pairs`.

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
    started: float | None = None,
) -> Judged:
    """Let two cells of the code that lies here take turns, for every pair.

    Args:
        pairs: The cell that stands for the pair, to the cells of base and head.
        settings: Settings of the sessions.
        device: Where all run.
        listen: Told when a session ends.
        start: Starts the worker of a side; a seam for tests.
        environments: Environments by device; a worker is asked where `start` is not given.
        offsets: The log-ratio that counts as no change, by key of a pair.
        started: When the budget began, by `time.monotonic`; now if not given.

    Raises:
        ArmError: No worker can be started, or the device is not there.
    """
    own = {
        name: {pair.key: cells[index] for pair, cells in pairs.items()} for index, name in enumerate(("base", "head"))
    }
    fates: dict[str, Fate] = {}
    started = time.monotonic() if started is None else started
    deadline = settings.deadline(started)
    with contextlib.ExitStack() as stack:

        def renew() -> None:
            return None

        if start is None:
            side = _here()
            environments, fates = _look(side, pairs, device, deadline, settings.timeout_seconds)
            sides = {name: replace(side, name=name) for name in own}
            is_bound, is_cold = not is_accelerator(device), settings.cold_cache
            servers = stack.enter_context(
                Servers(
                    sides,
                    is_bound=is_bound,
                    forks=settings.forks,
                    is_cold=is_cold,
                    deadline=deadline,
                    answer_seconds=settings.timeout_seconds,
                )
            )
            start, renew = servers.start, servers.renew
        return Comparing(
            tuple(pairs),
            settings,
            start,
            own=own,
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


def _look(
    side: Side,
    pairs: Mapping[Cell, tuple[Cell, Cell]],
    device: str,
    deadline: float | None = None,
    answer_seconds: float | None = None,
) -> tuple[dict[str, Environment], dict[str, Fate]]:
    """Ask one worker for the environment, and which cells this device cannot do."""
    arm = LiveArm(side, deadline=deadline, answer_seconds=answer_seconds)
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


def cells_of(model_a: str | None, model_b: str | None, axes: Mapping[str, Any], set_b: str | None) -> tuple[Cell, Cell]:
    """Make the two cells: both have these axes, and B what is set besides, `precision=bf16-amp,compile=default`.

    Raises:
        UsageError: One of them makes no sense, is more than one cell, or both are the same.
    """
    if model_a is None:
        raise UsageError("--model-b and --set-b need --model-a; write for example --model-a my_net --model-b mlp")
    first = plan_targets([model_a], {"batch_size": (8,), **axes}).cells
    if len(first) != 1:
        raise UsageError(f"--model-a {model_a!r} is {len(first)} cells with these options; give each axis one value")
    changed: dict[str, Any] = {} if model_b is None else {"model": model_b}
    settings: dict[str, tuple[Any, ...]] = {}
    for part in filter(None, (set_b or "").split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"--set-b {part!r} is no setting; write for example precision=bf16-amp,compile=default")
        read = axes_of(**{name.strip().replace("-", "_"): value})
        if refused := set(read) & set(RUN_ONLY):
            raise UsageError(f"--set-b {part!r}: both sides are one process of one seed; leave {min(refused)} out")
        changed |= {axis: only for axis, (only,) in read.items()}
        settings |= read
    second = cell_of({name: getattr(first[0], name) for name in first[0].__slots__} | changed)
    refuse_idle(settings, lambda: [second])
    if second == first[0]:
        raise UsageError(f"A and B are both {second.id}; give --model-b or --set-b something that differs")
    if second.device != first[0].device:
        raise UsageError("A and B must run on one device; give it with -d")
    return first[0], second


def compare_cells(
    a: Cell,
    b: Cell,
    settings: Settings,
    results: Path,
    listen: Callable[[Progress], None] = lambda _: None,
    get_ready: Callable[[], None] = lambda: None,
) -> Compared:
    """Compare two cells; the shift is log(B / A), per example where their batch sizes differ.

    `get_ready` is called before anything is started, and may wait for a quiet machine; the budget holds that, too.

    Raises:
        NothingMeasuredError: One of them fails; or the budget ended before the first session began.
        BenchError: No worker can be started, or the device is not there.
    """
    started = time.monotonic()
    get_ready()
    found, _ = _look(_here(), {}, a.device, settings.deadline(started), settings.timeout_seconds)
    with locked_environments(found, is_asked=settings.lock_clocks) as environments:
        return _compare(a, b, settings, results, listen, environments[a.device], started)


def _compare(
    a: Cell,
    b: Cell,
    settings: Settings,
    results: Path,
    listen: Callable[[Progress], None],
    environment: Environment,
    started: float,
) -> Compared:
    pair = replace(b, model=f"{b.id} : {a.id}")
    offset = math.log(b.batch_size / a.batch_size)
    here = Path.cwd()
    base, head = (Side(name=name, given=cell.id, folder=here, root=here) for name, cell in (("base", a), ("head", b)))
    plan = {"kind": "ab", "a": a.id, "b": b.id}
    folder = open_run(results, environment=environment, cells=(a, b), settings=plan)
    make_folder(folder.path / "sessions")

    def on_progress(progress: Progress) -> None:
        write_session(folder.path / "sessions", progress.session)
        listen(progress)

    judged = measure_pairs(
        {pair: (a, b)},
        settings,
        device=a.device,
        listen=on_progress,
        offsets={pair.key: offset},
        started=started,
    )
    (comparison,) = judged.comparisons
    facts = dict(comparison.facts)
    if "error" in facts:
        raise NothingMeasuredError(
            f"{'A' if facts.get('side') == 'base' else 'B'} cannot be measured: {facts['error']}"
        )
    compared = Compared(
        folder=folder.path,
        base=base,
        head=head,
        comparisons=(replace(comparison, cell_id=f"{b.id} : {a.id}"),),
        sessions=judged.sessions,
        environment=environment,
        differing=(),
        unfit=judged.unfit,
        is_cut_short=judged.is_cut_short,
        seed=settings.seed,
        seconds=time.monotonic() - started,
        notes=("the change is per example: the batch sizes differ",) if offset else (),
    )
    write_json(folder.path / COMPARISON_FILE, to_document(compared, settings))
    return compared
