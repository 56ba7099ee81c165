"""The run of `bench ab`: sessions of all cells that are undecided, until every cell has its verdict.

A cell is looked at when 5, 6, 8, 10, 14 and 18 of its sessions count, and leaves when it is decided; the rule is
`bench.stats.looks`. A session's cell that the machine's state spoiled is measured again in a further session, at most
as often as there are sessions; the choice never looks at a time.
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
from bench.core.errors import UsageError
from bench.core.units import counted
from bench.runner.ab.judging import Fate, columns_of, judge_all
from bench.runner.ab.session import MOST_VOID, AbSession, SessionPlan, StartArm, run_session
from bench.stats.looks import FEWEST_SESSIONS, MOST_SESSIONS, Plan, Threshold
from bench.stats.power import sees
from bench.stats.verdict import is_decided

QUADS = 12
"""Per session and cell. `bench machine noise` found 21 (my_net) and 64 (mlp) best on two shared cores; in a suite,
whose cells share the start of a session, fewer are."""

HOPELESS_SESSIONS = 3
"""A machine on which so many sessions passed and none counted is given up."""

MOST_DEATHS = 2
"""A cell whose worker was killed so often is given up; once may be bad luck."""


def draw_seed() -> int:
    """Draw the seed of a comparison from the machine's own randomness; it is stored, so a run can be repeated."""
    return secrets.randbelow(2**31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a comparison is run.

    Attributes:
        sessions: Most sessions of a cell.
        stops: A decided cell leaves; else all sessions are taken, whatever they show.
        quads: Per session and cell.
        budget_seconds: No session is started that would end after this; None is no limit.
        timeout_seconds: Longest wait for an answer of a worker; None is ten minutes.
        seed: Seed of every coin; drawn if not given, and stored.
        judges_state: Void sessions by the machine's state.
        slow: Fraction by which a side is slowed down on purpose.
        slow_every: One step in so many gets all of that.
        forks: Fork workers from a server, where the platform can; else each is a fresh interpreter.
        cold_cache: Empty the device's last cache before every step, outside its time.
        lock_clocks: Lock the clocks of GPUs meanwhile, where the driver permits.
        binds_threads: Whether the threads of both sides keep to the same cores on the CPU.
    """

    sessions: int = MOST_SESSIONS
    stops: bool = True
    quads: int = QUADS
    threshold: Threshold = field(default_factory=Threshold)
    budget_seconds: float | None = None
    timeout_seconds: float | None = None
    seed: int = field(default_factory=draw_seed)
    judges_state: bool = True
    slow: tuple[tuple[str, float], ...] = ()
    slow_every: int = 1
    cold_cache: bool = False
    lock_clocks: bool = False
    binds_threads: bool = True
    forks: bool = True

    def plan(self, cells: int) -> Plan:
        """Return when to look at so many cells."""
        return Plan(threshold=self.threshold, cells=max(1, cells), most=self.sessions)

    def deadline(self, started: float) -> float | None:
        """Return when the budget of what began then is over, by the same clock; None is never."""
        return None if self.budget_seconds is None else started + self.budget_seconds

    def detectable(self, spread: float, cells: int) -> float | None:
        """Return the shift that this plan finds four times in five, where sessions spread so."""
        return sees(self.plan(cells), spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a listener hears when a session ends.

    Attributes:
        done: Sessions that count, of the undecided cell that has fewest, or of all if none is left.
        planned: Sessions at which that cell is looked at next.
        undecided: Cells that go on.
        seconds_left: Until then, from the sessions that have ended.
        seconds_more: What further looks would take at most.
        budget_seconds: What is left of the budget; None without one.
    """

    session: AbSession
    done: int
    planned: int
    undecided: int
    seconds_left: float
    seconds_more: float
    budget_seconds: float | None = None


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
    """One comparison while it runs. `start` and `clock` are seams for tests; `renew` is called after every look."""

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
        started: float | None = None,
        renew: Callable[[], None] = lambda: None,
        offsets: dict[str, float] | None = None,
        own: dict[str, dict[str, Cell]] | None = None,
    ) -> None:
        self._cells = tuple(cells)
        self._settings = settings
        self._start = start
        self._fates = dict(fates or {})
        self._spreads = spreads or {}
        self._listen = listen
        self._clock = clock
        self._started = clock() if started is None else started
        self._renew = renew
        self._is_cut_short = False
        self._deaths: Counter[str] = Counter()
        self._good: Counter[str] = Counter()
        self._done: set[str] = set()
        self._sources: dict[tuple[str, str], str] = {}
        known = environments or {}
        self._plan = SessionPlan(
            seed=settings.seed,
            quads=settings.quads,
            threads={c.key: c.threads or (known[c.device].threads if c.device in known else 1) for c in cells},
            gpu_uuids={c.key: known[c.device].gpu_uuid if c.device in known else None for c in cells},
            slow=dict(settings.slow),
            slow_every=settings.slow_every,
            offsets=offsets or {},
            own=own or {},
            judges_state=settings.judges_state,
            is_over=self._is_over,
        )

    def run(self) -> Judged:
        """Measure and judge."""
        cells = self._alive(self._cells)
        plan = self._settings.plan(len(cells))
        sessions: list[AbSession] = []
        while (wanted := self._undecided(cells, sessions, plan)) and self._is_going_on(sessions):
            session = run_session(self._plan, len(sessions), wanted, self._start)
            sessions.append(session)
            self._note(session)
            if len(sessions) in plan.looks:
                self._renew()
            self._tell(sessions, cells, plan)
        comparisons = judge_all(
            self._cells, sessions, plan, fates=self._fates, spreads=self._spreads, is_cut_short=self._is_cut_short
        )
        unfit = _unfit(sessions)
        return Judged(comparisons=comparisons, sessions=tuple(sessions), unfit=unfit, is_cut_short=self._is_cut_short)

    def _alive(self, cells: Sequence[Cell]) -> list[Cell]:
        return [cell for cell in cells if cell.key not in self._fates]

    def _undecided(self, cells: Sequence[Cell], sessions: Sequence[AbSession], plan: Plan) -> list[Cell]:
        """Return the cells that need more sessions."""
        for cell in self._alive(cells):
            shifts, means = columns_of(sessions, cell)
            if len(shifts) >= plan.most or (self._settings.stops and is_decided(shifts, means, plan)):
                self._done.add(cell.key)
        return [cell for cell in self._alive(cells) if cell.key not in self._done]

    def _note(self, session: AbSession) -> None:
        """Find what cannot be measured any further."""
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
                self._good[key] += 1

    def _is_going_on(self, sessions: list[AbSession]) -> bool:
        """Whether one more session makes sense: some count, there are not too many, and there is time."""
        is_hopeless = len(sessions) >= HOPELESS_SESSIONS and not self._good and not self._deaths
        return not is_hopeless and len(sessions) < 2 * self._settings.sessions and self._has_time(sessions)

    def _has_time(self, sessions: list[AbSession]) -> bool:
        """Whether one more session like the longest would end within the budget; looks at the clock only."""
        if not self._is_over(max((one.seconds for one in sessions), default=0.0)):
            return True
        self._is_cut_short = True
        return False

    def _is_over(self, expected: float = 0.0) -> bool:
        deadline = self._settings.deadline(self._started)
        return deadline is not None and self._clock() + expected > deadline

    def _tell(self, sessions: list[AbSession], cells: Sequence[Cell], plan: Plan) -> None:
        mean = sum(one.seconds for one in sessions) / len(sessions)
        left = self._undecided(cells, sessions, plan)
        done = min((self._good[cell.key] for cell in left), default=max(self._good.values(), default=0))
        looked = (plan.next_look(done) if self._settings.stops else plan.most) if left else done
        planned = done if looked is None else looked
        deadline = self._settings.deadline(self._started)
        self._listen(
            Progress(
                session=sessions[-1],
                done=done,
                planned=planned,
                undecided=len(left),
                seconds_left=(planned - done) * mean,
                seconds_more=(plan.most - planned) * mean if left else 0.0,
                budget_seconds=None if deadline is None else max(0.0, deadline - self._clock()),
            )
        )


def refuse_hopeless(plan: Plan) -> None:
    """Refuse a plan that could never call anything slower.

    Raises:
        UsageError: Too few sessions for so small an alpha and so many cells.
    """
    if plan.most < FEWEST_SESSIONS:
        raise UsageError(f"--sessions {plan.most}: fewer than {FEWEST_SESSIONS} sessions decide nothing")
    if plan.sessions_needed is None:
        cures = [
            *([f"more --sessions (at most {MOST_SESSIONS})"] if plan.most < MOST_SESSIONS else []),
            *(["fewer cells"] if plan.cells > 1 else []),
            "a larger --alpha",
        ]
        raise UsageError(
            f"--alpha {plan.threshold.alpha:g}: {plan.most} sessions of {counted(plan.cells, 'cell')} can never show "
            f"a slowdown at this level; take {', '.join(cures[:-1])}{' or ' * (len(cures) > 1)}{cures[-1]}"
        )


def _unfit(sessions: Sequence[AbSession]) -> str | None:
    """Explain why the machine could not be measured on, if most of what was taken on it does not count."""
    measured = [one for session in sessions for one in session.cells if one.failed is None and one.died is None]
    void = Counter(one.void for one in measured if one.void is not None)
    if not measured or sum(void.values()) <= MOST_VOID * len(measured):
        return None
    reasons = ", ".join(f"{reason} {count}" for reason, count in void.most_common())
    counted = f"{sum(void.values())} of {len(measured)} measurements were void ({reasons})"
    return f"{counted}; try a quieter machine, fewer --threads, or --no-void"
