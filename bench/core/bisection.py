"""What `bench bisect` asks of a history, what it is answered, and what it found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bench.core.cell import Cell
from bench.core.comparison import Comparison
from bench.core.environment import Environment


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
    """

    comparisons: tuple[Comparison, ...]
    cells: tuple[Cell, ...]
    environments: tuple[tuple[str, Environment], ...] = ()
    sessions: int = 0
    seconds: float = 0.0
    unfit: str | None = None
    is_cut_short: bool = False


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
