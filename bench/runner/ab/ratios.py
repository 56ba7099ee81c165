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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.claims.ratios import is_timed, judge_time, unmeasured
from bench.core.cell import Cell
from bench.core.claim import CheckedClaim, Claim, ClaimVerdict, Relation
from bench.core.environment import Environment
from bench.core.errors import NothingMeasuredError, UsageError
from bench.core.estimate import Estimate
from bench.core.units import counted
from bench.device.clocks import locked_environments
from bench.runner.ab.judging import Fate, columns_of
from bench.runner.ab.run import Compared, to_document, write_session
from bench.runner.ab.servers import Servers, servers_for
from bench.runner.ab.session import StartArm
from bench.runner.ab.sides import Side
from bench.runner.ab.stages import Comparing, Judged, Listener, Progress, Settings, refuse_hopeless
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
    fates: dict[str, Fate] | None = None,
    renew: Callable[[], None] = lambda: None,
    offsets: dict[str, float] | None = None,
    started: float | None = None,
) -> Judged:
    """Let two cells of the code that lies here take turns, for every pair.

    Args:
        pairs: The cell that stands for the pair, to the cells of base and head.
        settings: Settings of the sessions.
        device: Where all run.
        listen: Told when a session ends.
        start: Starts the worker of a side. Without it servers are started here, and a worker is asked what follows.
        environments: Environments by device.
        fates: Why a pair cannot be measured, by its key.
        renew: Called after every look.
        offsets: The log-ratio that counts as no change, by key of a pair.
        started: When the budget began, by `time.monotonic`; now if not given.

    Raises:
        BenchError: No worker can be started, or the device is not there.
    """
    started = time.monotonic() if started is None else started
    with contextlib.ExitStack() as stack:
        if start is None:
            servers = stack.enter_context(_servers_here(pairs, settings, started))
            environments, fates = _look(servers, pairs, device)
            start, renew = servers.start, servers.renew
        return Comparing(
            tuple(pairs),
            settings,
            start,
            own={
                name: {pair.key: cells[index] for pair, cells in pairs.items()}
                for index, name in enumerate(("base", "head"))
            },
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
        ratio = _ratio(shifts)
        one = judge_time(claim, ratio, p_below=p_below, p_above=p_above, alpha=alpha)
        is_signed = one.verdict is ClaimVerdict.INCONCLUSIVE and claim.relation is not Relation.EQUAL
        if is_signed and ratio.low is not None and len(claims) * 0.5 ** len(shifts) > alpha:
            few = f"{len(shifts)} sessions can show nothing of {counted(len(claims), 'claim')} together"
            one = replace(one, reason=f"{one.reason}; {few}: more --sessions, or fewer claims")
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


def _servers_here(pairs: Iterable[Cell], settings: Settings, started: float) -> Servers:
    """Make servers for the code that lies here, on both sides."""
    here = Path.cwd()
    sides = {name: Side(name=name, given=".", folder=here, root=here) for name in ("base", "head")}
    return servers_for(sides, tuple(pairs), settings, started)


def _look(
    servers: Servers, pairs: Mapping[Cell, tuple[Cell, Cell]], device: str
) -> tuple[dict[str, Environment], dict[str, Fate]]:
    """Ask one worker for the environment, and which cells this device cannot do."""
    with contextlib.closing(servers.start_untimed("head")) as arm:
        arm.hello()
        found = arm.describe([device], [cell for cells in pairs.values() for cell in cells])
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
        BenchError: No worker can be started, or the device is not there; or nothing could ever be called slower.
    """
    started = time.monotonic()
    refuse_hopeless(settings.plan(1))
    get_ready()
    pair = replace(b, model=f"{b.id} : {a.id}")
    with _servers_here((pair,), settings, started) as servers:
        found, fates = _look(servers, {pair: (a, b)}, a.device)
        with locked_environments(found, is_asked=settings.lock_clocks) as environments:
            plan = {"kind": "ab", "a": a.id, "b": b.id}
            folder = open_run(results, environment=environments[a.device], cells=(a, b), settings=plan)
            make_folder(folder.path / "sessions")

            def on_progress(progress: Progress) -> None:
                write_session(folder.path / "sessions", progress.session)
                if not any(one.failed for one in progress.session.cells):  # that is the error at the end
                    listen(progress)

            judged = measure_pairs(
                {pair: (a, b)},
                settings,
                device=a.device,
                listen=on_progress,
                start=servers.start,
                renew=servers.renew,
                environments=environments,
                fates=fates,
                offsets={pair.key: math.log(b.batch_size / a.batch_size)},
                started=started,
            )
    (comparison,) = judged.comparisons
    facts = dict(comparison.facts)
    if "error" in facts:
        raise NothingMeasuredError(
            f"{'A' if facts.get('side') == 'base' else 'B'} cannot be measured: {facts['error']}"
        )
    base, head = (replace(servers.sides[name], given=cell.id) for name, cell in (("base", a), ("head", b)))
    per = "step" if a.batch_size == b.batch_size else "example"
    compared = Compared(
        folder=folder.path,
        base=base,
        head=head,
        comparisons=(replace(comparison, cell_id=f"{b.id} : {a.id}"),),
        sessions=judged.sessions,
        environment=environments[a.device],
        differing=(),
        unfit=judged.unfit,
        is_cut_short=judged.is_cut_short,
        seed=settings.seed,
        seconds=time.monotonic() - started,
        notes=("the change is per example: the batch sizes differ",) if per == "example" else (),
        per=per,
    )
    write_json(folder.path / COMPARISON_FILE, to_document(compared, settings))
    return compared
