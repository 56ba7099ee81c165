"""The run of `bench ab`: screen, confirm on fresh sessions, extend where that does not decide, judge.

    screen      6 sessions of the whole suite
    confirm     8 fresh sessions of what is suspected or undecided, if anything is
    extend      6 more of what is left, if anything is undecided still
    judge       bench.stats.looks, which says what may be looked at and when, through `judging`

A session's cell that the machine's state spoiled is measured again in a further session, at most as often as there are
sessions; the choice never looks at a time.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.core.cell import Cell
from bench.core.comparison import Comparison
from bench.core.environment import Environment
from bench.runner.ab.judging import Fate, judge_all, matrix
from bench.runner.ab.session import MOST_VOID, AbSession, SessionPlan, StartArm, run_session
from bench.stats.looks import (
    CONFIRM_SESSIONS,
    EXTEND_SESSIONS,
    FIRST_SHARE,
    SCREEN_SESSIONS,
    Threshold,
    extend,
    screen,
)
from bench.stats.power import minimum_detectable

QUADS = 12
"""Per session and cell. `bench machine noise` found 21 (my_net) and 64 (mlp) best on two shared cores; in a suite,
whose cells share the start of a session, fewer are."""

MOST_DEATHS = 2
"""A cell whose worker was killed so often is given up; once may be bad luck."""


def draw_seed() -> int:
    """Draw the seed of a comparison from the machine's own randomness; it is stored, so a run can be repeated."""
    return secrets.randbelow(2**31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a comparison is run.

    Attributes:
        sessions: Of the screen.
        confirm_sessions: Fresh ones of what the screen suspects, or cannot decide; 0 lets the screen judge alone.
        extend_sessions: More of them, where those do not decide; 0 gives all of alpha to the first look.
        quads: Per session and cell.
        budget_seconds: No session is started that would end after this; None is no limit.
        seed: Of every coin; drawn if not given, and stored.
        judges_state: Void sessions by the machine's state.
        slow: Fraction by which a side is slowed down on purpose.
        binds_threads: On the CPU, keep the threads of both sides' steps on the same cores.
    """

    sessions: int = SCREEN_SESSIONS
    confirm_sessions: int = CONFIRM_SESSIONS
    extend_sessions: int = EXTEND_SESSIONS
    quads: int = QUADS
    threshold: Threshold = field(default_factory=Threshold)
    budget_seconds: float | None = None
    seed: int = field(default_factory=draw_seed)
    judges_state: bool = True
    slow: tuple[tuple[str, float], ...] = ()
    binds_threads: bool = True

    def detectable(self, spread: float) -> float | None:
        """Return the shift that all sessions of this plan would find, where sessions spread so; None for too few."""
        sessions = self.confirm_sessions + self.extend_sessions if self.confirm_sessions else self.sessions
        share = 1 - FIRST_SHARE if self.is_extending else 1.0
        return minimum_detectable(spread, sessions, alpha=self.threshold.alpha * share)

    @property
    def is_extending(self) -> bool:
        """Whether a second look at fresh sessions is planned."""
        return self.confirm_sessions > 0 and self.extend_sessions > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a listener hears when a session ends.

    Attributes:
        done: Sessions of this stage that are complete.
        planned: Sessions of this stage.
        seconds_left: Of this stage, from the sessions that have ended.
        seconds_more: What further stages would take at most, if they were needed; 0 in the last.
    """

    session: AbSession
    done: int
    planned: int
    seconds_left: float
    seconds_more: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a comparison found.

    Attributes:
        unfit: Why the machine could not be measured on; None if it could.
        is_cut_short: The budget ended before the plan did.
    """

    comparisons: tuple[Comparison, ...]
    sessions: tuple[AbSession, ...]
    unfit: str | None = None
    is_cut_short: bool = False


Listener = Callable[[Progress], None]


class Comparing:
    """One comparison while it runs. `start` and `clock` are seams for tests."""

    def __init__(
        self,
        cells: Sequence[Cell],
        settings: Settings,
        start: StartArm,
        *,
        fates: dict[str, Fate] | None = None,
        environments: dict[str, Environment] | None = None,
        spreads: dict[str, float] | None = None,
        listen: Listener = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cells = tuple(cells)
        self._settings = settings
        self._start = start
        self._fates = dict(fates or {})
        self._spreads = spreads or {}
        self._listen = listen
        self._clock = clock
        self._started = clock()
        self._is_cut_short = False
        self._deaths: Counter[str] = Counter()
        self._sources: dict[tuple[str, str], str] = {}
        known = environments or {}
        self._plan = SessionPlan(
            seed=settings.seed,
            quads=settings.quads,
            threads={c.key: c.threads or (known[c.device].threads if c.device in known else 1) for c in cells},
            gpu_uuids={c.key: known[c.device].gpu_uuid if c.device in known else None for c in cells},
            slow=dict(settings.slow),
            judges_state=settings.judges_state,
        )

    def run(self) -> Judged:
        """Screen, confirm, extend, judge."""
        settings = self._settings
        first = self._alive(self._cells)
        screened = self._run_stage("screen", first, settings.sessions)
        columns = self._alive(first)
        doubtful = screen(matrix(screened, columns), settings.threshold, spreads=self._known(columns))
        chosen = [columns[j] for j in doubtful]
        confirmed = self._run_stage("confirm", chosen, settings.confirm_sessions)
        left: list[Cell] = []
        if settings.is_extending:
            undecided = extend(matrix(confirmed, chosen), settings.threshold, spreads=self._known(chosen))
            left = [chosen[j] for j in undecided]
        extended = self._run_stage("extend", left, settings.extend_sessions)
        sessions = (*screened, *confirmed, *extended)
        comparisons = judge_all(
            self._cells,
            columns=columns,
            chosen=chosen,
            left=left,
            screened=screened,
            confirmed=confirmed,
            extended=extended,
            fates=self._fates,
            threshold=settings.threshold,
            is_extending=settings.is_extending,
            spreads=self._spreads,
        )
        unfit = _unfit(sessions)
        return Judged(comparisons=comparisons, sessions=sessions, unfit=unfit, is_cut_short=self._is_cut_short)

    def _known(self, cells: Sequence[Cell]) -> list[float]:
        """Return the spread of a session of each cell as a calibration found it; 0 where there is none."""
        return [self._spreads.get(cell.key, 0.0) for cell in cells]

    def _alive(self, cells: Sequence[Cell]) -> list[Cell]:
        return [cell for cell in cells if cell.key not in self._fates]

    def _run_stage(self, stage: str, cells: Sequence[Cell], count: int) -> list[AbSession]:
        """Run sessions until every cell has `count` that are good, at most twice as many."""
        sessions: list[AbSession] = []
        good: Counter[str] = Counter()
        while len(sessions) < 2 * count:
            wanted = [cell for cell in self._alive(cells) if good[cell.key] < count]
            is_hopeless = len(sessions) >= max(3, count // 2) and not good and not self._deaths
            if not wanted or is_hopeless or not self._has_time(sessions):
                break
            session = run_session(self._plan, stage, len(sessions), wanted, self._start)
            sessions.append(session)
            for measured in session.cells:
                key = measured.cell.key
                for side, path, stamp in measured.sources:
                    if self._sources.setdefault((side, path), stamp) != stamp:
                        self._fates[key] = Fate(side=side, reason=f"{path} was edited while it was measured")
                if measured.failed:
                    self._fates[key] = Fate(side=measured.failed, reason=measured.reason)
                elif measured.died:
                    self._deaths[key] += 1
                    if self._deaths[key] >= MOST_DEATHS:
                        self._fates[key] = Fate(side=measured.died, reason=measured.reason)
                elif measured.void is None:
                    good[key] += 1
            left = max((count - good[cell.key] for cell in self._alive(cells)), default=0)
            self._tell(session, sessions, planned=count, left=min(left, 2 * count - len(sessions)))
        return sessions

    def _has_time(self, sessions: list[AbSession]) -> bool:
        """Whether one more session like the last would end within the budget; looks at the clock only."""
        budget = self._settings.budget_seconds
        if budget is None:
            return True
        expected = sessions[-1].seconds if sessions else 0.0
        if self._clock() - self._started + expected <= budget:
            return True
        self._is_cut_short = True
        return False

    def _tell(self, session: AbSession, sessions: list[AbSession], *, planned: int, left: int) -> None:
        mean = sum(one.seconds for one in sessions) / len(sessions)
        settings = self._settings
        further = settings.confirm_sessions if session.stage == "screen" else 0
        if settings.is_extending and session.stage != "extend":
            further += settings.extend_sessions
        self._listen(
            Progress(
                session=session,
                done=planned - left,
                planned=planned,
                seconds_left=left * mean,
                seconds_more=further * mean,
            )
        )


def _unfit(sessions: Sequence[AbSession]) -> str | None:
    """Say why the machine could not be measured on, if most of what was taken on it does not count."""
    measured = [one for session in sessions for one in session.cells if one.failed is None and one.died is None]
    void = Counter(one.void for one in measured if one.void is not None)
    if not measured or sum(void.values()) <= MOST_VOID * len(measured):
        return None
    reasons = ", ".join(f"{reason} {count}" for reason, count in void.most_common())
    counted = f"{sum(void.values())} of {len(measured)} measurements were void ({reasons})"
    return f"{counted}; try a quieter machine, fewer --threads, or --no-void"
