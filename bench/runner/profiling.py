"""Profile cells, each in a fresh process, and keep what was found; put stored profiles side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from bench.core.advice import Advice, doubts_of_peak
from bench.core.cell import Cell
from bench.core.environment import Environment
from bench.core.errors import NothingMeasuredError, StoreError, UsageError
from bench.core.jsonio import to_json
from bench.core.peaks import Peak
from bench.core.profile import Change, OperatorCost, Profile, ProfileDiff, ProfiledLayer, ProfileOptions
from bench.core.progress import told
from bench.core.record import Counters, Outcome, Phase, Record, Sample
from bench.device.clocks import doubts_of_lock, locked_environments
from bench.runner import processes
from bench.runner.peaks import known_peaks
from bench.runner.plan import make_plan
from bench.runner.records import Stamp, open_run
from bench.runner.session import write_derived
from bench.stats.estimate import quantile
from bench.store.cases import PROFILES, read_profiles, write_case
from bench.store.codec import from_file
from bench.store.runs import RunFolder
from bench.store.stored import read_stored_run

_WORKER = "bench.runner.workers.cells"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledCell:
    """One cell's profile, or the reason why there is none."""

    cell: Cell
    profile: Profile | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """What one `bench profile` found, and where it lies."""

    folder: Path
    cells: tuple[ProfiledCell, ...]


def profile_cells(
    cells: Sequence[Cell],
    options: ProfileOptions,
    *,
    results: Path = Path("results"),
    timeout_seconds: float | None = None,
    locks_clocks: bool = False,
) -> Profiled:
    """Profile cells one after the other into a run's folder: a record and a profile of each.

    With `locks_clocks` the clocks of their GPUs are locked meanwhile, where the driver permits.

    Raises:
        BenchError: A model or device is not there, or the results cannot be written.
    """
    if options.trace and len(cells) > 1:
        raise UsageError(f"--trace writes one file, but {len(cells)} cells were asked for; name one cell")
    processes.preload(_WORKER)
    plan = make_plan(cells, timeout_seconds=timeout_seconds)
    with locked_environments(plan.environments, is_asked=locks_clocks) as environments:
        peaks = known_peaks(results, environments)
        folder = open_run(
            results,
            environment=next(iter(environments.values())),
            cells=plan.cells,
            settings={"profile": to_json(options)},
        )
        found = []
        with folder.locked():
            for cell in told(plan.cells, "profiling", len(plan.cells)):
                known, environment = peaks.get(cell.device), environments.get(cell.device)
                peak = known.over(cell.precision) if known else None
                unlocked = doubts_of_lock(environment, cell.device, is_asked=locks_clocks)
                one, record = _profile(cell, options, peak, environment, timeout_seconds, unlocked)
                folder.append(record)
                if one.profile is not None:
                    write_case(folder, one.profile)
                found.append(one)
            write_derived(folder, read_stored_run(folder))
    return Profiled(folder=folder.path, cells=tuple(found))


def _profile(
    cell: Cell,
    options: ProfileOptions,
    peak: Peak | None,
    environment: Environment | None,
    timeout_seconds: float | None,
    doubts: tuple[Advice, ...],
) -> tuple[ProfiledCell, Record]:
    stamp = Stamp(cell)
    arguments = (cell, options, peak.ridge if peak else None, environment.gpu_uuid if environment else None)
    ending = processes.call(f"{_WORKER}:profile_cell", *arguments, timeout_seconds=timeout_seconds)
    if ending.outcome is not Outcome.OK:
        reason = ending.reason or ending.outcome.value
        record = stamp.record(ending.outcome, reason=reason, environment=environment, output_tail=ending.output_tail)
        return ProfiledCell(cell=cell, reason=reason), record
    if isinstance(ending.value, str):
        record = stamp.record(Outcome.SKIPPED, reason=ending.value, environment=environment)
        return ProfiledCell(cell=cell, reason=ending.value), record
    profile: Profile = replace(ending.value, advice=(*ending.value.advice, *doubts_of_peak(peak), *doubts))
    record = stamp.record(
        Outcome.OK,
        environment=environment,
        samples=(Sample(phase=Phase.STEP, seconds=profile.steps_seconds, clock=profile.clock),),
        counters=Counters(flops=profile.flops),
        advice=profile.advice,
    )
    return ProfiledCell(cell=cell, profile=profile), record


def profiles_of(given: str, results: Path = Path("results")) -> tuple[Profile, ...]:
    """Read the profiles of a run (its id, a beginning of it, folder, or `latest`), or one file of them.

    Raises:
        StoreError: There is no such run, it has no profile, or one cannot be read.
    """
    path = Path(given)
    if path.is_file() and path.suffix == ".json" and path.name != "run.json":
        return (from_file(Profile, path),)
    folder = RunFolder.open(path.parent if path.name == "run.json" else given, results, prefers_records=True)
    profiles, problems = read_profiles(folder)
    if problems:
        raise problems[0]
    if not profiles:
        raise StoreError(f"run {folder.run.id} has no profile; `bench profile` makes runs that do")
    return profiles


def has_profiles(given: str, results: Path = Path("results")) -> bool:
    """Whether a run, given as to `profiles_of`, or a file holds profiles.

    Raises:
        StoreError: There is no such run.
    """
    path = Path(given)
    if path.is_file() and path.name != "run.json":
        return path.parent.name == PROFILES
    folder = RunFolder.open(path.parent if path.name == "run.json" else given, results, prefers_records=True)
    return (folder.path / PROFILES).is_dir()


def diff_runs(before: str, after: str, results: Path = Path("results")) -> tuple[ProfileDiff, ...]:
    """Compare the profiles of two runs: the same cells, or the only cell of either.

    Raises:
        StoreError: A run cannot be read or has no profile.
        NothingMeasuredError: They have no cell in common.
    """
    old, new = profiles_of(before, results), profiles_of(after, results)
    if len(old) == len(new) == 1:
        return (diff_profiles(old[0], new[0]),)
    by_key = {profile.cell.key: profile for profile in new}
    pairs = [(profile, by_key[profile.cell.key]) for profile in old if profile.cell.key in by_key]
    if not pairs:
        raise NothingMeasuredError(f"{before} and {after} have no cell in common; profile one cell each to compare two")
    return tuple(diff_profiles(was, now) for was, now in pairs)


Row = TypeVar("Row", ProfiledLayer, OperatorCost)


def diff_profiles(before: Profile, after: Profile) -> ProfileDiff:
    """Match the rows of two profiles by name; one that is on one side only was added or removed."""
    return ProfileDiff(
        before=before.cell,
        after=after.cell,
        before_seconds=before.step_seconds,
        after_seconds=after.step_seconds,
        layers=_changes(before.layers, after.layers, lambda row: row.flops),
        operators=_changes(before.operators, after.operators, lambda _: None),
        noise_seconds=(_spread(before) + _spread(after)) / 2,
        doubts=tuple(_doubts(before, after)),
    )


def _changes(before: Sequence[Row], after: Sequence[Row], flops_of: Callable[[Row], int | None]) -> tuple[Change, ...]:
    old, new = {row.name: row for row in before}, {row.name: row for row in after}
    rows = []
    for name in {**old, **new}:
        was, now = old.get(name), new.get(name)
        rows.append(
            Change(
                name=name,
                before=was.seconds if was else None,
                after=now.seconds if now else None,
                before_flops=flops_of(was) if was else None,
                after_flops=flops_of(now) if now else None,
            )
        )
    return tuple(sorted(rows, key=lambda row: -abs(row.seconds)))


def _spread(profile: Profile) -> float:
    steps = profile.steps_seconds
    return (quantile(steps, 0.9) - quantile(steps, 0.1)) / 2 if steps else 0.0


def _doubts(before: Profile, after: Profile) -> list[str]:
    doubts = []
    if before.clock != after.clock:
        doubts.append(f"times of the {before.clock} against times of the {after.clock}")
    if before.stepbench != after.stepbench:
        doubts.append(f"profiled by stepbench {before.stepbench} and {after.stepbench}")
    doubts += [
        f"the profiler made a step of {profile.cell.id} {profile.overhead_fraction * 100:.0f} % longer"
        for profile in (before, after)
        if profile.overhead_fraction > 0.5
    ]
    return doubts
