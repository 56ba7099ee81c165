"""Two sides compared: the visits they were measured in, and what may be said of the difference; a history searched."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bench.core.advice import AdviceKind
from bench.core.cell import Cell
from bench.core.environment import Environment
from bench.core.estimate import Estimate


class ComparisonVerdict(StrEnum):
    """What a comparison says of head against base. INCONCLUSIVE is an answer, and never counted as SAME."""

    FASTER = "faster"
    SAME = "same"
    SLOWER = "slower"
    INCONCLUSIVE = "inconclusive"
    INCOMPARABLE = "incomparable"


class ComparisonReason(StrEnum):
    """Why the verdict is what it is; the numbers stand in `Comparison`, the words are made in `report/`."""

    SLOWDOWN_CONFIRMED = "slowdown-confirmed"  # adjusted p <= alpha and shift >= fail_at
    SPEEDUP_CONFIRMED = "speedup-confirmed"  # the mirrored test
    SLOWDOWN_EXCLUDED = "slowdown-excluded"  # the mirrored test against the tolerated slowdown
    SLOWDOWN_NOT_EXCLUDED = "slowdown-not-excluded"  # neither shown nor excluded
    CANNOT_DETECT = "cannot-detect"  # a tolerated slowdown would not have been seen: too noisy for its threshold
    BUDGET_ENDED = "budget-ended"  # before the last look
    TOO_FEW_SESSIONS = "too-few-sessions"  # the first look was not reached
    SUSPECT_NOT_CONFIRMED = "suspect-not-confirmed"  # of files before version 2: fresh sessions were not run
    OTHER_ENVIRONMENT = "other-environment"  # fingerprints differ
    MISSING_SIDE = "missing-side"  # one side has no such cell, or it failed there
    DIFFERENT_WORK = "different-work"  # parameters or counters differ: not the same computation


class ShownBy(StrEnum):
    """Which of a session's two log-ratios showed the change."""

    EVERY_STEP = "every-step"  # the undisturbed step
    ON_AVERAGE = "on-average"  # the mean only: some steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Quad:
    """Four visits of one cell, ABBA or BAAB: raw seconds of every step, by side.

    Attributes:
        base: One tuple of step seconds per visit of the base, in the order they were taken.
        head: The same for the head.
        clock: `host` or `device`.
        head_first: The quad was BAAB.
    """

    base: tuple[tuple[float, ...], ...]
    head: tuple[tuple[float, ...], ...]
    clock: str = "host"
    head_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the statistics say of one cell. Shifts are log-ratios head / base: 0.05 is 5.1 % slower.

    Attributes:
        shift: Hodges-Lehmann shift of the sessions that were judged; None without sessions. Of the undisturbed step,
            or of the mean if that alone showed a change.
        low: Lower end of its interval; None if there are too few sessions for one.
        p_adjusted: p of the slower test, or of the faster one if the shift is negative; adjusted for the whole suite,
            and for the share of alpha that its look may spend.
        minimum_detectable: Shift that the plan calls slower with 80 % power; None if the spread is unknown.
        session_shifts: One per session that was judged, in order; as `shift`.
        shown_by: What showed the change; None if none was shown.
        mean_shift: Like `shift`, but always of the mean; `mean_high` is the upper end of its interval.
        mean_shifts: One per session.
        look: Number of the look that decided, from 1, of `looks` planned ones; None before the first.
        screen_shifts: Shifts of files before version 2: those of the screen, if fresh sessions decided instead.
    """

    verdict: ComparisonVerdict
    reason: ComparisonReason
    shift: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float = 0.95
    p_adjusted: float | None = None
    minimum_detectable: float | None = None
    session_shifts: tuple[float, ...] = ()
    shown_by: ShownBy | None = None
    mean_shift: float | None = None
    mean_high: float | None = None
    mean_shifts: tuple[float, ...] = ()
    look: int | None = None
    looks: int | None = None
    screen_shifts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Judgement):
    """One cell, base against head: its judgement, and what was measured.

    Attributes:
        cell_id: For people.
        cell_key: Joins with records.
        base: Seconds per step of the base; None if it was not measured.
        head: The same for the head.
        voided: Reason and count of sessions that the machine's state spoiled.
        facts: Further facts of the reason, name and value: the field that differs, the thresholds.
    """

    cell_id: str
    cell_key: str
    base: Estimate | None = None
    head: Estimate | None = None
    voided: tuple[tuple[str, int], ...] = ()
    facts: tuple[tuple[str, str | int | float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What stands above and below the table.

    Attributes:
        base: Base in words: `origin/main (1a2b3c4)`.
        method: How it was measured, in words.
        notes: What to know besides, one sentence each.
        unfit: Why the machine could not be measured on.
        per: What the ratio of two cells, A as base and B as head, stands for: `step` or `example`; None of revisions.
    """

    base: str
    head: str
    method: str
    notes: tuple[str, ...] = ()
    unfit: str | None = None
    per: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nomination:
    """One cell of two stored runs.

    Attributes:
        base: Median seconds per step; None where the cell is missing or failed there.
        head: The same of the other run.
        shift: log(head / base); None where a side is missing.
        low: Lower end of its interval, which covers the steps of these processes and not what other processes would
            have taken; None if a side has none.
        base_doubts: Kinds of doubt about the base, each once; the same for `head_doubts`.
        apart: Why the cell may not be compared, in words; empty if it may. Such a cell is no suspect.
        is_suspect: Changed enough to be worth `bench ab`.
        missing: What is missing, in words; empty if nothing is.
        processes: Fresh processes of base and of head.
        tokens: Tokens of a step, of all its examples; None where the model takes none.
    """

    cell_id: str
    cell_key: str
    base: float | None = None
    head: float | None = None
    shift: float | None = None
    low: float | None = None
    high: float | None = None
    base_doubts: tuple[AdviceKind, ...] = ()
    head_doubts: tuple[AdviceKind, ...] = ()
    apart: str = ""
    is_suspect: bool = False
    missing: str = ""
    processes: tuple[int, int] = (0, 0)
    tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of two stored runs that are put side by side.

    Attributes:
        id: Name of the run's folder or file.
        started_at: ISO 8601; empty if the file does not say.
        command: Command as typed.
        environment: Environment of the run; None if the file does not say.
        busy_cores: Fewest and most cores that other work kept busy during its cells; None if not measured.
    """

    id: str
    started_at: str = ""
    command: tuple[str, ...] = ()
    environment: Environment | None = None
    busy_cores: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nominated:
    """Two stored runs side by side; nominates, never judges.

    Attributes:
        nominations: Nominations in the order of the base's cells; empty if the runs share none.
        commands: Commands that can judge.
    """

    base: Side
    head: Side
    nominations: tuple[Nomination, ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit: its full name and the first line of its message."""

    name: str
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Two commits compared until every cell was decided.

    Attributes:
        cells: With full device names.
        environments: Environments by device.
        unfit: Why the machine could not be measured on; None if it could.
        notes: What surprises people about the commits.
    """

    comparisons: tuple[Comparison, ...]
    cells: tuple[Cell, ...]
    environments: tuple[tuple[str, Environment], ...] = ()
    sessions: int = 0
    seconds: float = 0.0
    unfit: str | None = None
    is_cut_short: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One cell in one session of two commits.

    Attributes:
        shift: Log-ratio of the undisturbed step; None if the session does not count.
        mean_shift: The same of the mean.
        side: Which commit cannot be measured, `base`, `head` or `both`; None if both can.
        reason: What it raised, or why the session is void.
    """

    cell_key: str
    shift: float | None = None
    mean_shift: float | None = None
    side: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shots:
    """One session of two commits."""

    shots: tuple[Shot, ...]
    seconds: float = 0.0


class BisectVerdict(StrEnum):
    """What a bisection says."""

    FOUND = "found"
    NO_STEP = "no-step"
    UNDECIDED = "undecided"
    UNBUILDABLE = "unbuildable"  # an end, or everything between the ends, cannot be measured
    UNFIT = "unfit"  # the machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One slowdown of one cell that fresh sessions confirmed.

    Attributes:
        commits: Oldest first. One, or several of which all but the last cannot be measured.
        comparison: Comparison of the last of them against what was there before the first.
    """

    commits: tuple[Commit, ...]
    comparison: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmeasured:
    """A commit that cannot be measured, and what it raised."""

    commit: Commit
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Likely:
    """The smallest set of commits that holds the slowdown of an undecided cell with 95 %; `share` is what it holds."""

    cell_id: str
    commits: tuple[Commit, ...]
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bisected:
    """The answer.

    Attributes:
        reason: Why there is no step, in words; empty if one was found.
        suspects: How many commits were looked among.
        ends: Comparisons of `good` and `bad`.
        steps: The largest first.
        likely: What is left where the search was not decided.
        notes: What to know besides, one sentence each.
    """

    good: Commit
    bad: Commit
    verdict: BisectVerdict
    reason: str = ""
    suspects: int = 0
    ends: tuple[Comparison, ...] = ()
    steps: tuple[Step, ...] = ()
    unmeasured: tuple[Unmeasured, ...] = ()
    likely: tuple[Likely, ...] = ()
    notes: tuple[str, ...] = ()
    sessions: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """What a listener hears after a session of a search.

    Attributes:
        shift: Log-ratio of the cell that is searched for to the good end; None if the session did not count.
        posterior: Mass of every suspect of the range, oldest first.
        likely: The suspect with the largest mass.
    """

    commit: Commit
    cell_id: str
    sessions: int
    shift: float | None
    reason: str
    posterior: tuple[float, ...]
    likely: Commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a listener hears when a named commit was compared with the one before it."""

    commits: tuple[Commit, ...]
    comparison: Comparison
    is_confirmed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CellNoise:
    """The noise of one cell when nothing changed.

    Attributes:
        sessions: Number of sessions used, with `quads` in each.
        within: Standard deviation of a quad's log-ratio in one session.
        between: Standard deviation of sessions beyond what quads explain; 0 where the quads explain all.
        best_quads: Quads per session that give most for the time.
        detectable: Most sessions of a comparison of this cell, and the slowdown it would see, at `quads` quads.
        slot_shift: How much slower the process was that was started second.
        slot_p: Two-sided p of that by sign flips.
    """

    cell_id: str
    cell_key: str
    sessions: int
    quads: int
    within: float
    between: float
    best_quads: int
    detectable: tuple[tuple[int, float], ...]
    slot_shift: float
    slot_p: float
