"""Find the commit that made a cell slower: what is compared next, and when that ends.

    ends      the whole range, by `bench ab`'s rule; no cell slower: there is no step to find
    search    sessions of the good end against one commit at a time, chosen by `bench.stats.bisection`, one search per
              slower cell; a session serves all of them
    confirm   the commit that was named against the one before it, by `bench ab`'s rule, on fresh sessions: a wrong
              commit is said with a chance of at most alpha, whatever the search did
    rest      what is left to explain is looked for on both sides of the commit; if it was not confirmed, the range is
              parted at the tested commit whose own shift is nearest to half, and either part is a range of its own

Nothing here starts a process: all is asked of a `Measurer`, and every answer depends on the answers before it alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from bench.core.cell import Cell
from bench.core.comparison import (
    Bisected,
    BisectVerdict,
    Commit,
    Comparison,
    ComparisonVerdict,
    Ends,
    Likely,
    Narrowed,
    Settled,
    Shot,
    Shots,
    ShownBy,
    Step,
    Unmeasured,
)
from bench.core.errors import BenchError
from bench.core.units import counted
from bench.stats.bisection import Search
from bench.stats.looks import Bools
from bench.stats.power import session_spread

MOST_SESSIONS = 120
"""Of one search."""

MOST_VOID_IN_TURN = 5
"""A machine that spoils so many sessions one after the other is given up."""

_RESUME = "`bench bisect --resume` continues"

_ONE_STEP = 0.7
_ANY_STEPS = 0.5


class Measurer(Protocol):
    """Compares two commits."""

    def compare(self, base: str, head: str, cells: tuple[Cell, ...]) -> Ends:
        """Compare two commits until every cell is decided."""

    def session(self, base: str, head: str, ends: Ends, cells: tuple[Cell, ...]) -> Shots:
        """Run one session of two commits; `ends` is a comparison of their range."""

    def is_over(self) -> bool:
        """Whether the time is up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Commits from the good end to the bad one.

    Attributes:
        good: Where nothing was slow yet.
        commits: The suspects and test points after it, oldest first; the last is the bad end.
        parents: Full name of the first parent of each; it need not be a suspect.
        holds: Commits by commits: whether the row's history holds the column's.
    """

    good: Commit
    commits: tuple[Commit, ...]
    parents: tuple[str, ...]
    holds: Bools

    def name(self, index: int) -> str:
        """Return the full name of a commit; -1 is the good end."""
        return self.good.name if index < 0 else self.commits[index].name


Listener = Callable[[Narrowed | Settled], None]
Places = tuple[int, ...]
"""Indexes of commits in the history, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Range:
    """A part of the history and what its ends showed; `low` is -1 for the good end."""

    low: int
    high: int
    ends: Ends


@dataclass(slots=True, kw_only=True)
class _Hunt:
    """One slower cell in one range."""

    cell: Cell
    comparison: Comparison
    search: Search
    is_dismissed: bool = False

    def value(self, shot: Shot) -> float | None:
        """Take the column of the session that showed the change."""
        return shot.mean_shift if self.comparison.shown_by is ShownBy.ON_AVERAGE else shot.shift

    @property
    def is_open(self) -> bool:
        return self.search.named() is None and self.search.next() is not None


@dataclass(slots=True, kw_only=True)
class Bisecting:
    """One bisection while it runs.

    Args:
        fail_at: A fraction; a step smaller than this is none.
        expects_one: Take a step for 0.7 of the whole change instead of half: fewer sessions, blind to two steps.
    """

    history: History
    measurer: Measurer
    cells: tuple[Cell, ...]
    fail_at: float
    expects_one: bool = False
    listen: Listener = lambda _: None
    _steps: list[Step] = field(default_factory=list)
    _unmeasured: dict[int, str] = field(default_factory=dict)
    _likely: list[Likely] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)
    _problem: BisectVerdict | None = None
    _sessions: int = 0

    def run(self) -> Bisected:
        """Search until every step is confirmed, or nothing more can be said.

        Raises:
            BenchError: The good end, which was measured before, cannot be measured any more.
        """
        history = self.history
        last = len(history.commits) - 1
        ends = self._compare(history.name(-1), last, self.cells)
        whole = {one.cell_key: one for one in ends.comparisons}
        if not self._slower(ends):
            return self._answer(ends, *_without_step(ends, self.fail_at))
        ranges = [_Range(low=-1, high=last, ends=ends)]
        while ranges:
            ranges += self._within(ranges.pop(0))
        self._steps.sort(key=lambda step: -(step.comparison.shift or 0.0))
        if self._steps:
            self._notes = [*self._explained(whole), *self._notes]
            return self._answer(ends, BisectVerdict.FOUND, "")
        reason = self._notes.pop(0) if self._notes else "no commit was named"
        return self._answer(ends, self._problem or BisectVerdict.UNDECIDED, reason)

    def _answer(self, ends: Ends, verdict: BisectVerdict, reason: str) -> Bisected:
        commits = self.history.commits
        return Bisected(
            good=self.history.good,
            bad=commits[-1],
            verdict=verdict,
            reason=reason,
            suspects=len(commits),
            ends=ends.comparisons,
            steps=tuple(self._steps),
            unmeasured=tuple(Unmeasured(commit=commits[i], reason=r) for i, r in sorted(self._unmeasured.items())),
            likely=tuple(self._likely),
            notes=tuple(dict.fromkeys((*self._notes, *_unsearched(ends), *ends.notes))),
            sessions=self._sessions,
        )

    def _compare(self, base: str, high: int, cells: tuple[Cell, ...]) -> Ends:
        ends = self.measurer.compare(base, self.history.name(high), cells)
        self._sessions += ends.sessions
        return ends

    def _slower(self, ends: Ends) -> tuple[Cell, ...]:
        keys = {one.cell_key for one in ends.comparisons if one.verdict is ComparisonVerdict.SLOWER}
        return tuple(cell for cell in ends.cells if cell.key in keys)

    def _within(self, part: _Range) -> list[_Range]:
        """Search one range; return the ranges in which more is to be found."""
        holds = self.history.holds
        inside = holds[part.high] & ~(holds[part.low] if part.low >= 0 else np.zeros_like(holds[0]))
        suspects = tuple(np.flatnonzero(inside).tolist())
        points = tuple(i for i in suspects if part.low < 0 or holds[i, part.low])
        hunts = self._hunts(part, holds[np.ix_(points, suspects)])
        for hunt in hunts:
            for place, point in enumerate(points):
                if point in self._unmeasured:
                    hunt.search.exclude(place)
        further: list[_Range] = []
        while hunts:
            self._search(part, hunts, points, suspects)
            named: dict[tuple[int, ...], list[_Hunt]] = {}
            for hunt in hunts:
                group = hunt.search.named()
                if group is None:
                    self._leave(hunt, suspects)
                else:
                    named.setdefault(tuple(suspects[i] for i in group), []).append(hunt)
            hunts = []
            for commits, found in named.items():
                again, more = self._confirm(part, commits, found, points, suspects)
                hunts += again
                further += more
        return further

    def _hunts(self, part: _Range, holds: Bools) -> list[_Hunt]:
        found = {one.cell_key: one for one in part.ends.comparisons}
        hunts = []
        for cell in self._slower(part.ends):
            comparison = found[cell.key]
            assert comparison.shift is not None
            share = _ONE_STEP if self.expects_one else _ANY_STEPS
            size = max(math.log1p(self.fail_at), share * comparison.shift, 1e-6)
            spread = session_spread(comparison.session_shifts) or 0.0
            hunts.append(_Hunt(cell=cell, comparison=comparison, search=Search(holds, size=size, spread=spread)))
        return hunts

    def _search(self, part: _Range, hunts: Sequence[_Hunt], points: Places, suspects: Places) -> None:
        """Run sessions until every search has named its commits, or the time or the sessions are up."""
        history = self.history
        void = 0
        for _ in range(MOST_SESSIONS):
            left = [hunt for hunt in hunts if hunt.is_open]
            if not left:
                return
            if self.measurer.is_over():
                self._note(BisectVerdict.UNDECIDED, f"the budget ended; {_RESUME}")
                return
            place = left[0].search.next()
            assert place is not None  # or it would not be open
            point = points[place]
            cells = tuple(hunt.cell for hunt in left)
            taken = self.measurer.session(history.name(part.low), history.name(point), part.ends, cells)
            self._sessions += 1
            shots = {shot.cell_key: shot for shot in taken.shots}
            for hunt in left:
                self._take(hunt, shots.get(hunt.cell.key), place, point, part)
            first = shots.get(left[0].cell.key)
            self._tell(left[0], first, point, suspects)
            is_void = first is None or (first.side is None and left[0].value(first) is None)
            void = void + 1 if is_void else 0
            if void == MOST_VOID_IN_TURN and first is not None:
                self._note(BisectVerdict.UNFIT, f"{void} sessions in turn did not count ({first.reason})")
                return
        self._note(BisectVerdict.UNDECIDED, f"{MOST_SESSIONS} sessions did not tell the suspects apart")

    def _take(self, hunt: _Hunt, shot: Shot | None, place: int, point: int, part: _Range) -> None:
        if shot is None:
            return
        if shot.side in ("base", "both"):
            name = self.history.name(part.low)
            raise BenchError(f"{name[:12]} was measured before and cannot be any more: {shot.reason}")
        value = hunt.value(shot)
        if shot.side is not None:
            hunt.search.exclude(place)
            self._unmeasured.setdefault(point, shot.reason)
        elif value is not None:
            hunt.search.observe(place, value)

    def _tell(self, hunt: _Hunt, shot: Shot | None, point: int, suspects: Places) -> None:
        posterior = hunt.search.posterior
        self.listen(
            Narrowed(
                commit=self.history.commits[point],
                cell_id=hunt.cell.id,
                sessions=self._sessions,
                shift=None if shot is None else hunt.value(shot),
                reason="" if shot is None else shot.reason,
                posterior=tuple(posterior.tolist()),
                likely=self.history.commits[suspects[int(posterior.argmax())]],
            )
        )

    def _note(self, verdict: BisectVerdict, reason: str) -> None:
        self._problem = self._problem or verdict
        self._notes.append(reason)

    def _leave(self, hunt: _Hunt, suspects: Places) -> None:
        places, share = hunt.search.likely()
        commits = tuple(self.history.commits[suspects[place]] for place in places)
        self._likely.append(Likely(cell_id=hunt.cell.id, commits=commits, share=share))

    def _confirm(
        self, part: _Range, named: tuple[int, ...], hunts: Sequence[_Hunt], points: Places, suspects: Places
    ) -> tuple[list[_Hunt], list[_Range]]:
        """Compare what was named with what was there before; return what to search again, and where further."""
        if len(named) == len(suspects):  # the ends compared just this
            ends = part.ends
            if len(named) > 1 and part.low < 0 and part.high == len(self.history.commits) - 1:
                self._note(BisectVerdict.UNBUILDABLE, "no commit between the ends can be measured")
                for hunt in hunts:
                    self._leave(hunt, suspects)
                return [], []
        else:
            before = self._before(part, named, points)
            is_in_line = before < 0 or bool(self.history.holds[named[0], before])
            base = self.history.parents[named[0]] if is_in_line else self.history.name(before)
            ends = self._compare(base, named[-1], tuple(hunt.cell for hunt in hunts))
        commits = tuple(self.history.commits[i] for i in named)
        compared = {one.cell_key: one for one in ends.comparisons}
        again: list[_Hunt] = []
        further: list[_Range] = []
        for hunt in hunts:
            found = compared[hunt.cell.key]
            is_confirmed = found.verdict is ComparisonVerdict.SLOWER
            self.listen(Settled(commits=commits, comparison=found, is_confirmed=is_confirmed))
            if is_confirmed:
                self._steps.append(Step(commits=commits, comparison=found))
                if (hunt.comparison.shift or 0.0) - (found.shift or 0.0) >= math.log1p(self.fail_at):
                    further += self._parts(part, self._before(part, named, points), named[-1], hunt)
            elif found.verdict is ComparisonVerdict.SAME and not hunt.is_dismissed:
                hunt.search.dismiss([suspects.index(i) for i in named])
                hunt.is_dismissed = True
                again.append(hunt)
            else:
                words = "one of the named" if len(commits) > 1 else commits[0].name[:12]
                why = f"fresh sessions did not confirm it ({found.verdict})"
                if ends.is_cut_short:
                    why = f"the budget ended before it was confirmed; {_RESUME}"
                self._note(BisectVerdict.UNDECIDED, f"{words} was named, but {why}")
                further += self._part_at_plateau(part, hunt, points, suspects)
        return again, further

    def _before(self, part: _Range, named: tuple[int, ...], points: Places) -> int:
        """Return the last commit that can be measured and holds none of these but all the last one's other suspects."""
        holds = self.history.holds
        able = [i for i in points if holds[named[-1], i] and i not in self._unmeasured]
        able = [i for i in able if not holds[i, list(named)].any()]
        return max(able, key=lambda i: (int(holds[i].sum()), i), default=part.low)

    def _parts(self, part: _Range, before: int, after: int, hunt: _Hunt) -> list[_Range]:
        """Compare the ends of the ranges on both sides; return those in which the cell is slower."""
        found = []
        for low, high in ((part.low, before), (after, part.high)):
            if low == high:
                continue
            ends = None if self.measurer.is_over() else self._compare(self.history.name(low), high, (hunt.cell,))
            if ends is None or ends.is_cut_short:
                self._note(BisectVerdict.UNDECIDED, f"the budget ended before the rest was searched; {_RESUME}")
                break
            if self._slower(ends):
                found.append(_Range(low=low, high=high, ends=ends))
        return found

    def _part_at_plateau(self, part: _Range, hunt: _Hunt, points: Places, suspects: Places) -> list[_Range]:
        """Part a range whose named commit was not confirmed: it may lie between two steps."""
        place = hunt.search.nearest_to((hunt.comparison.shift or 0.0) / 2)
        parts = [] if place is None else self._parts(part, points[place], points[place], hunt)
        if not parts:
            self._leave(hunt, suspects)
        return parts

    def _explained(self, whole: dict[str, Comparison]) -> list[str]:
        """Describe how much of the whole change the steps are."""
        lines = []
        for key in dict.fromkeys(step.comparison.cell_key for step in self._steps):
            of_cell = [step.comparison.shift or 0.0 for step in self._steps if step.comparison.cell_key == key]
            total = whole[key].shift or 0.0
            lines.append(
                f"{whole[key].cell_id}: {counted(len(of_cell), 'step')} of together {math.expm1(sum(of_cell)):+.1%}, "
                f"good to bad {math.expm1(total):+.1%}"
            )
        return [line.replace("%", " %") for line in lines]


def _unsearched(ends: Ends) -> list[str]:
    """Name the cells of which the ends say nothing, beside those that are searched for."""
    if all(one.verdict is not ComparisonVerdict.SLOWER for one in ends.comparisons):
        return []
    lines = []
    for one in ends.comparisons:
        if one.verdict in (ComparisonVerdict.INCOMPARABLE, ComparisonVerdict.INCONCLUSIVE):
            error = dict(one.facts).get("error")
            why = "its ends could not be told apart" if error is None else f"it cannot be measured: {error}"
            lines.append(f"{one.cell_id} was not searched: {why}")
    return lines


def _without_step(ends: Ends, fail_at: float) -> tuple[BisectVerdict, str]:
    """Explain why there is nothing to search for."""
    verdicts = [one.verdict for one in ends.comparisons]
    if ends.unfit:
        return BisectVerdict.UNFIT, ends.unfit
    if ComparisonVerdict.INCOMPARABLE in verdicts:
        one = next(one for one in ends.comparisons if one.verdict is ComparisonVerdict.INCOMPARABLE)
        facts = dict(one.facts)
        side = {"base": "the good end", "head": "the bad end"}.get(str(facts.get("side")), "both ends")
        return BisectVerdict.UNBUILDABLE, f"{side} cannot be measured: {facts.get('error', one.reason.value)}"
    if ComparisonVerdict.INCONCLUSIVE in verdicts:
        why = f"the budget ended; {_RESUME}" if ends.is_cut_short else "the machine is too noisy for it"
        return BisectVerdict.UNDECIDED, f"the ends could not be told apart: {why}"
    step = f"no step of at least {fail_at * 100:g} % between them"
    is_faster = ComparisonVerdict.FASTER in verdicts
    return BisectVerdict.NO_STEP, f"{step}: the bad end is faster" if is_faster else step
