"""What this machine's noise is when nothing changed, kept for later comparisons; and whether verdicts hold here.

Calibrate: an A/A comparison, taken apart.

    within     spread of quads in one session (between visits; more quads average it away)
    between    spread of sessions beyond that (each process has its own speed; only more sessions help)

A session's value is the median of its quads, whose variance is pi/2 within^2 / quads for many Gaussian quads (the
asymptotic efficiency of a median), so  spread^2 = between^2 + (pi/2) within^2 / quads.  The best number of quads
minimises variance times cost per session, where a session costs c0 + quads c1:
quads = sqrt((pi/2) within^2 c0 / (between^2 c1)).

Calibrations lie in `results/calibration/<fingerprint>.json`; only a machine with the same fingerprint uses them.

Test the verdicts: unchanged code must raise no alarm, a real slowdown must be found, of every step, and of one step in
20 by as much on average, which the undisturbed step does not show. The slowdown is no number added afterwards: every
step of one side really waits, by a busy loop, for a share of the time that this very step took; on a device, of the
time that the warm-up measured.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.core.cell import Cell
from bench.core.comparison import CellNoise, Comparison, ComparisonVerdict
from bench.core.environment import Environment
from bench.core.errors import IncomparableError, NothingMeasuredError, StoreError
from bench.core.files import read_file
from bench.core.jsonio import from_json, parse_json
from bench.core.units import now
from bench.runner.ab.run import Compared, Request, Started, compare_sides
from bench.runner.ab.session import AbSession, CellSession
from bench.runner.ab.stages import Progress, Settings
from bench.stats.looks import Plan, Threshold
from bench.stats.power import sees, session_spread
from bench.stats.shift import MIN_STEPS_FOR_MINIMUM, quad_shift
from bench.stats.signflip import sign_flip_p
from bench.store.codec import write_json

SCHEMA = 1
"""Version of the calibration files. History: 1 (2026-11-23) first."""

PLANS = (6, 8, 14, 18)
"""Most sessions of a comparison, for which is told what it would see."""

MEDIAN_COST = math.pi / 2
MOST_QUADS, FEWEST_QUADS = 64, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The noise of one machine, by cell."""

    fingerprint: str
    measured_at: str
    cells: tuple[CellNoise, ...]
    schema: int = field(default=SCHEMA)


def take_apart(
    sessions: Sequence[AbSession], cell: Cell, quads: int, threshold: Threshold | None = None
) -> CellNoise | None:
    """Split the noise of an A/A comparison; None for fewer than three good sessions."""
    good = [(session, one) for session in sessions for one in session.cells if one.cell == cell and _is_good(one)]
    if len(good) < 3:
        return None
    shifts = [one.shift for _, one in good if one.shift is not None]
    values = [_quad_shifts(one) for _, one in good]
    variances = [statistics.variance(session) for session in values if len(session) > 1]
    within = math.sqrt(statistics.fmean(variances)) if variances else 0.0
    spread = session_spread(shifts) or 0.0
    mean_spread = session_spread([one.mean_shift for _, one in good if one.mean_shift is not None])
    between = math.sqrt(max(0.0, spread**2 - MEDIAN_COST * within**2 / quads))
    per_quad = statistics.fmean(one.seconds / max(1, len(one.quads)) for _, one in good)
    start = statistics.fmean(_start_seconds(session) + one.build_seconds for session, one in good)
    slots = [shift if session.first == "base" else -shift for (session, _), shift in zip(good, shifts, strict=True)]
    slower, faster = sign_flip_p(slots), sign_flip_p(slots, faster=True)
    return CellNoise(
        cell_id=cell.id,
        cell_key=cell.key,
        sessions=len(good),
        quads=quads,
        within=within,
        between=between,
        best_quads=best_quads(within, between, start_seconds=start, quad_seconds=per_quad),
        detectable=tuple(
            (count, found)
            for count in PLANS
            if (found := sees(Plan(threshold=threshold or Threshold(), most=count), spread, mean_spread)) is not None
        ),
        slot_shift=statistics.fmean(slots),
        slot_p=min(1.0, 2 * min(slower, faster)),
    )


def spread_of(noise: CellNoise, quads: int) -> float:
    """Return the standard deviation of a session of so many quads."""
    return math.sqrt(noise.between**2 + MEDIAN_COST * noise.within**2 / quads)


def best_quads(within: float, between: float, *, start_seconds: float, quad_seconds: float) -> int:
    """Return the number of quads per session that gives the least variance for the time."""
    if within == 0:
        return FEWEST_QUADS
    if between == 0 or quad_seconds <= 0:
        return MOST_QUADS
    best = math.sqrt(MEDIAN_COST * within**2 * start_seconds / (between**2 * quad_seconds))
    return round(min(max(best, FEWEST_QUADS), MOST_QUADS))


def calibration_path(results: Path, fingerprint: str) -> Path:
    """Return where the calibration of a machine lies."""
    return results / "calibration" / f"{fingerprint}.json"


def write_calibration(results: Path, calibration: Calibration) -> Path:
    """Keep a calibration; cells that an older one of this machine has and this one has not stay.

    Raises:
        StoreError: It cannot be written.
    """
    path = calibration_path(results, calibration.fingerprint)
    older = read_calibration(results, calibration.fingerprint)
    new = {cell.cell_key for cell in calibration.cells}
    kept = tuple(cell for cell in older.cells if cell.cell_key not in new) if older else ()
    write_json(path, replace(calibration, cells=(*calibration.cells, *kept)))
    return path


def read_calibration(results: Path, fingerprint: str) -> Calibration | None:
    """Read the calibration of a machine; None if it was never calibrated.

    Raises:
        StoreError: The file is no calibration.
    """
    path = calibration_path(results, fingerprint)
    try:
        return from_json(Calibration, parse_json(read_file(path)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} is no calibration ({error}); delete it and run 'bench machine noise' again"
        ) from error


def spreads_of_cells(results: Path, settings: Settings) -> Callable[[Environment, Sequence[Cell]], dict[str, float]]:
    """Make the function that tells, of each calibrated cell, how sessions of so many quads spread on this machine."""

    def find(environment: Environment, cells: Sequence[Cell]) -> dict[str, float]:
        calibration = read_calibration(results, environment.fingerprint)
        noises = {noise.cell_key: noise for noise in calibration.cells} if calibration else {}
        return {cell.key: spread_of(noises[cell.key], settings.quads) for cell in cells if cell.key in noises}

    return find


def _is_good(one: CellSession) -> bool:
    return one.void is None and one.shift is not None


def _quad_shifts(one: CellSession) -> list[float]:
    """Return the log-ratio of every quad, by the rule of `session_shift`."""
    shortest = min(len(visit) for quad in one.quads for visit in (*quad.base, *quad.head))
    use_minimum = one.quads[0].clock == "host" and shortest >= MIN_STEPS_FOR_MINIMUM
    return [quad_shift(quad, use_minimum=use_minimum) for quad in one.quads]


def _start_seconds(session: AbSession) -> float:
    """Return a cell's share of what starting the workers took."""
    working = sum(one.seconds + one.build_seconds for one in session.cells)
    return max(0.0, session.seconds - working) / max(1, len(session.cells))


def calibrate(request: Request, listen: Callable[[Started | Progress], None]) -> tuple[Path, Calibration]:
    """Measure unchanged code against itself, take the noise apart, and keep it; return where, and what.

    Raises:
        IncomparableError: The machine is unfit; what it does now is not what it usually does.
        NothingMeasuredError: No cell has three good sessions.
        BenchError: See `compare_sides`.
    """
    compared = compare_sides(request, listen)
    if compared.unfit:
        raise IncomparableError(f"this machine cannot be calibrated now: {compared.unfit}")
    cells = dict.fromkeys(one.cell for session in compared.sessions for one in session.cells)
    settings = request.settings
    found = (take_apart(compared.sessions, cell, settings.quads, settings.threshold) for cell in cells)
    noises = tuple(noise for noise in found if noise is not None)
    if not noises:
        raise NothingMeasuredError("nothing was calibrated: no cell has three sessions that count; run more --sessions")
    calibration = Calibration(
        fingerprint=compared.environment.fingerprint,
        measured_at=now(),
        cells=noises,
    )
    return write_calibration(request.results, calibration), calibration


EVERY = 20
"""Of the third comparison, one step in so many is slower."""

ALARMS = frozenset({ComparisonVerdict.SLOWER, ComparisonVerdict.FASTER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Selftest:
    """What both comparisons found.

    Attributes:
        unchanged: Comparisons of the code with itself.
        injected: Comparisons of the code with itself, one side slowed down.
        on_average: The same with one step in `EVERY` slowed down, by as much on average.
        asked: Log-ratio that was to be added.
        added: By cell key, the log-ratio that was really added: busy time over the base's step.
    """

    unchanged: tuple[Comparison, ...]
    injected: tuple[Comparison, ...]
    on_average: tuple[Comparison, ...]
    asked: float
    added: dict[str, float]
    unfit: str | None
    seconds: float

    @property
    def alarms(self) -> tuple[Comparison, ...]:
        """Cells that were called slower or faster although nothing changed."""
        return tuple(c for c in self.unchanged if c.verdict in ALARMS)

    @property
    def missed(self) -> tuple[Comparison, ...]:
        """Cells whose slowdown was not found."""
        return tuple(c for c in (*self.injected, *self.on_average) if c.verdict is not ComparisonVerdict.SLOWER)

    @property
    def is_passed(self) -> bool:
        """Whether there was no alarm, and nothing was missed."""
        return not self.alarms and not self.missed and bool(self.injected)


def selftest(request: Request, slowdown: float, listen: Callable[[Started | Progress], None]) -> Selftest:
    """Compare unchanged code with itself, then with two slowed copies of itself.

    Raises:
        BenchError: See `compare_sides`.
    """
    unchanged = compare_sides(request, listen)
    settings = replace(request.settings, seed=request.settings.seed + 1, slow=(("head", slowdown),))
    injected = compare_sides(replace(request, settings=settings), listen)
    settings = replace(settings, seed=settings.seed + 1, slow_every=EVERY)
    on_average = compare_sides(replace(request, settings=settings), listen)
    return Selftest(
        unchanged=unchanged.comparisons,
        injected=injected.comparisons,
        on_average=on_average.comparisons,
        asked=math.log1p(slowdown),
        added=added_shifts(injected, slowdown),
        unfit=unchanged.unfit or injected.unfit or on_average.unfit,
        seconds=unchanged.seconds + injected.seconds + on_average.seconds,
    )


def added_shifts(compared: Compared, slowdown: float) -> dict[str, float]:
    """Return by cell key the log-ratio that waiting really added: on the host exactly what was asked for."""
    shifts = {}
    for comparison in compared.comparisons:
        good = [
            one
            for session in compared.sessions
            for one in session.cells
            if one.cell.key == comparison.cell_key and one.void is None and one.quads
        ]
        if not good or comparison.base is None:
            continue
        is_exact = all(quad.clock == "host" for one in good for quad in one.quads)
        waited = statistics.median(one.added_seconds for one in good) / comparison.base.point
        shifts[comparison.cell_key] = math.log1p(slowdown if is_exact else waited)
    return shifts
