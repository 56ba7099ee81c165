"""What a bisection asks, with a measurer that answers at once: known slowdowns at known commits, seeded noise."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from bench.core.cell import Cell
from bench.core.comparison import (
    Bisected,
    BisectVerdict,
    Commit,
    ComparisonVerdict,
    Ends,
    Narrowed,
    Settled,
    Shot,
    Shots,
)
from bench.core.errors import BenchError, StoreError
from bench.runner.ab.bisect import Bisecting, History
from bench.runner.ab.bisect_run import Journal
from bench.runner.ab.judging import Fate, judge_all
from bench.runner.ab.session import AbSession, CellSession
from bench.runner.ab.stages import Settings
from bench.tables.comparison import bisection_document, event_text
from bench.tables.document import page_text
from bench.tables.table import Page
from tests.runner.ab_fakes import cell

SETTINGS = Settings(quads=1, seed=1)


@dataclass
class FakeMeasurer:
    """Answers from the true log-ratios of each model at each commit; commits are named c0 (good), c1, c2, ..."""

    steps: dict[str, dict[int, float]]
    broken: dict[int, str] = field(default_factory=dict)
    noise: float = 0.01
    seed: int = 3
    void: bool = False
    sessions_left: int = 10_000
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def is_over(self) -> bool:
        return self.sessions_left <= 0

    def shift(self, base: str, head: str, one: Cell) -> float:
        low, high = int(base[1:]), int(head[1:])
        true = sum(size for at, size in self.steps.get(one.model, {}).items() if low < at <= high)
        return true + self.random.gauss(0, self.noise)

    def compare(self, base: str, head: str, cells: tuple[Cell, ...]) -> Ends:
        self.asked.append(("compare", base, head))
        plan = SETTINGS.plan(len(cells))
        sessions = []
        for index in range(plan.most):
            taken = []
            for one in cells:
                value = self.shift(base, head, one)
                taken.append(CellSession(cell=one, shift=value, mean_shift=value))
            sessions.append(AbSession(stage="session", index=index, first="base", cells=tuple(taken), seconds=0.1))
        fates = {}
        for side, name in (("base", base), ("head", head)):
            if int(name[1:]) in self.broken:
                fates = {one.key: Fate(side=side, reason=self.broken[int(name[1:])]) for one in cells}
        comparisons = judge_all(cells, sessions, plan, fates=fates, spreads={}, is_cut_short=False)
        return Ends(comparisons=comparisons, cells=cells, sessions=plan.most)

    def session(self, base: str, head: str, ends: Ends, cells: tuple[Cell, ...]) -> Shots:
        self.asked.append(("session", base, head))
        self.sessions_left -= 1
        shots = []
        for one in cells:
            if int(head[1:]) in self.broken:
                shots.append(Shot(cell_key=one.key, side="head", reason=self.broken[int(head[1:])]))
            elif self.void:
                shots.append(Shot(cell_key=one.key, reason="busy cores"))
            else:
                value = self.shift(base, head, one)
                shots.append(Shot(cell_key=one.key, shift=value, mean_shift=value))
        return Shots(shots=tuple(shots))


def history(count: int) -> History:
    commits = [Commit(name=f"c{index}", subject=f"change {index}") for index in range(count + 1)]
    """Every commit holds all before it."""
    parents = tuple(commit.name for commit in commits[:-1])
    return History(good=commits[0], commits=tuple(commits[1:]), parents=parents, holds=np.tri(count, dtype=bool))


def bisect(measurer: FakeMeasurer, count: int = 40, models: tuple[str, ...] = ("net",), **options: object) -> Bisected:
    cells = tuple(cell(model) for model in models)
    return Bisecting(history=history(count), measurer=measurer, cells=cells, fail_at=0.02, **options).run()  # type: ignore[arg-type]


def steps_of(bisected: Bisected) -> list[tuple[str, ...]]:
    return [tuple(commit.name for commit in step.commits) for step in bisected.steps]


def text(bisected: Bisected) -> str:
    return page_text(bisection_document(bisected), Page(width=200))


def test_one_step_is_found_confirmed_and_printed() -> None:
    measurer = FakeMeasurer({"net": {17: 0.077}})
    events: list[Narrowed | Settled] = []
    bisected = bisect(measurer, listen=events.append)
    assert bisected.verdict is BisectVerdict.FOUND
    assert steps_of(bisected) == [("c17",)]
    assert measurer.asked[0] == ("compare", "c0", "c40")
    assert measurer.asked[-1] == ("compare", "c16", "c17")
    (step,) = bisected.steps
    assert step.comparison.shift == pytest.approx(0.077, abs=0.02)
    shown = text(bisected)
    assert "1 step confirmed in c0..c40, 40 commits" in shown
    assert "change 17" in shown
    assert "good to bad" in shown
    tested = [event for event in events if isinstance(event, Narrowed)]
    assert all(sum(event.posterior) == pytest.approx(1) for event in tested)
    assert "most likely c17" in event_text(tested[-1])
    assert event_text(events[-1]).endswith("% confirmed")


def test_ends_that_are_the_same_need_no_search() -> None:
    measurer = FakeMeasurer({"net": {}})
    bisected = bisect(measurer)
    assert bisected.verdict is BisectVerdict.NO_STEP
    assert bisected.reason == "no step of at least 2 % between them"
    assert len(measurer.asked) == 1
    assert bisect(FakeMeasurer({"net": {4: -0.1}})).reason.endswith("the bad end is faster")


@pytest.mark.parametrize(("at", "side"), [(0, "the good end"), (40, "the bad end")])
def test_an_end_that_cannot_be_measured_is_said(at: int, side: str) -> None:
    bisected = bisect(FakeMeasurer({"net": {9: 0.08}}, broken={at: "no module named net"}))
    assert bisected.verdict is BisectVerdict.UNBUILDABLE
    assert bisected.reason == f"{side} cannot be measured: no module named net"


def test_a_step_behind_broken_commits_is_named_as_a_range() -> None:
    broken = dict.fromkeys((15, 16, 17), "SyntaxError: half a change")
    bisected = bisect(FakeMeasurer({"net": {16: 0.08}}, broken=broken))
    assert steps_of(bisected) == [("c15", "c16", "c17", "c18")]
    assert {one.commit.name for one in bisected.unmeasured} >= {"c15", "c16", "c17"} - {"c16"}
    assert "one of these 4" in text(bisected)
    assert "SyntaxError" in text(bisected)


def test_a_broken_commit_elsewhere_costs_nothing_but_itself() -> None:
    bisected = bisect(FakeMeasurer({"net": {17: 0.08}}, broken={20: "ImportError"}))
    assert steps_of(bisected) == [("c17",)]
    assert [one.commit.name for one in bisected.unmeasured] == ["c20"]


def test_where_nothing_between_can_be_measured_nothing_is_named() -> None:
    bisected = bisect(FakeMeasurer({"net": {3: 0.08}}, broken=dict.fromkeys(range(1, 8), "ImportError")), count=8)
    assert bisected.verdict is BisectVerdict.UNBUILDABLE
    assert bisected.steps == ()
    assert [commit.name for commit in bisected.likely[0].commits] == [f"c{index}" for index in range(1, 9)]


def test_two_equal_steps_are_both_found_largest_first() -> None:
    bisected = bisect(FakeMeasurer({"net": {8: 0.06, 31: 0.05}}, noise=0.004))
    assert steps_of(bisected) == [("c8",), ("c31",)]
    assert "2 steps of together +11." in text(bisected)


def test_a_speedup_on_the_way_does_not_mislead() -> None:
    assert steps_of(bisect(FakeMeasurer({"net": {12: -0.06, 25: 0.11}}))) == [("c25",)]
    assert steps_of(bisect(FakeMeasurer({"net": {12: 0.11, 25: -0.05}}))) == [("c12",)]


def test_cells_with_steps_of_their_own_share_sessions() -> None:
    measurer = FakeMeasurer({"net": {7: 0.08}, "mlp": {29: 0.08}, "same": {}}, noise=0.004)
    bisected = bisect(measurer, models=("net", "mlp", "same"))
    found = {step.comparison.cell_id.split("/")[0]: step.commits[0].name for step in bisected.steps}
    assert found == {"net": "c7", "mlp": "c29"}


def test_a_cell_of_which_the_ends_say_nothing_is_not_passed_over_in_silence() -> None:
    class Lacking(FakeMeasurer):
        """One model cannot be imported at the good end, another is too noisy."""

        def compare(self, base: str, head: str, cells: tuple[Cell, ...]) -> Ends:
            ends = super().compare(base, head, cells)
            facts = (("side", "base"), ("error", "no module named mlp"))
            changes = {
                "mlp": {"verdict": ComparisonVerdict.INCOMPARABLE, "facts": facts},
                "cnn": {"verdict": ComparisonVerdict.INCONCLUSIVE},
            }
            found = [replace(one, **changes.get(one.cell_id.split("/")[0], {})) for one in ends.comparisons]
            return replace(ends, comparisons=tuple(found))

    bisected = bisect(Lacking({"net": {17: 0.08}}), models=("net", "mlp", "cnn"))
    assert (bisected.verdict, steps_of(bisected)) == (BisectVerdict.FOUND, [("c17",)])
    assert "mlp/train/b8/cpu/fp32 was not searched: it cannot be measured: no module named mlp" in bisected.notes
    assert "cnn/train/b8/cpu/fp32 was not searched: its ends could not be told apart" in bisected.notes


def test_one_commit_between_the_ends_is_named_at_once() -> None:
    measurer = FakeMeasurer({"net": {1: 0.08}})
    assert steps_of(bisect(measurer, count=1)) == [("c1",)]
    assert len(measurer.asked) == 1


def test_the_end_of_the_budget_leaves_the_likely_commits() -> None:
    bisected = bisect(FakeMeasurer({"net": {17: 0.08}}, sessions_left=4))
    assert bisected.verdict is BisectVerdict.UNDECIDED
    assert "budget" in bisected.reason
    (likely,) = bisected.likely
    assert "c17" in {commit.name for commit in likely.commits}
    assert likely.share >= 0.95


def test_a_confirmation_that_the_budget_ended_is_no_refusal_of_the_commit() -> None:
    class Late(FakeMeasurer):
        def compare(self, base: str, head: str, cells: tuple[Cell, ...]) -> Ends:
            if not self.asked:
                return super().compare(base, head, cells)
            self.sessions_left = 0
            plan = SETTINGS.plan(len(cells))
            nothing = judge_all(cells, (), plan, fates={}, spreads={}, is_cut_short=True)
            return Ends(comparisons=nothing, cells=cells, is_cut_short=True)

    bisected = bisect(Late({"net": {17: 0.08}}))
    assert (bisected.verdict, bisected.steps) == (BisectVerdict.UNDECIDED, ())
    assert bisected.reason == (
        "c17 was named, but the budget ended before it was confirmed; `bench bisect --resume` continues"
    )
    assert "c17" in {commit.name for commit in bisected.likely[0].commits}


@pytest.mark.parametrize("whole", [0, 2])
def test_ends_that_the_budget_left_open_are_to_be_resumed(whole: int) -> None:
    """Either the first comparison is cut, or that of what the confirmed step leaves to explain."""

    class Late(FakeMeasurer):
        def compare(self, base: str, head: str, cells: tuple[Cell, ...]) -> Ends:
            if sum(kind == "compare" for kind, *_ in self.asked) < whole:
                return super().compare(base, head, cells)
            nothing = judge_all(cells, (), SETTINGS.plan(len(cells)), fates={}, spreads={}, is_cut_short=True)
            return Ends(comparisons=nothing, cells=cells, is_cut_short=True)

    bisected = bisect(Late({"net": {8: 0.05, 30: 0.08}}))
    assert bisected.verdict is (BisectVerdict.FOUND if whole else BisectVerdict.UNDECIDED)
    words = (
        "the budget ended before the rest was searched"
        if whole
        else "the ends could not be told apart: the budget ended"
    )
    assert any(f"{words}; `bench bisect --resume` continues" in one for one in (bisected.reason, *bisected.notes))


def test_a_machine_that_spoils_every_session_is_unfit() -> None:
    bisected = bisect(FakeMeasurer({"net": {17: 0.08}}, void=True))
    assert bisected.verdict is BisectVerdict.UNFIT
    assert "busy cores" in bisected.reason


def test_what_fresh_sessions_do_not_confirm_is_not_said() -> None:
    class Misleading(FakeMeasurer):
        """Its single sessions see a step that is not there; comparisons do not, but for the whole."""

        def session(self, base: str, head: str, ends: Ends, cells: tuple[Cell, ...]) -> Shots:
            taken = super().session(base, head, ends, cells)
            value = 0.08 if int(head[1:]) >= 10 else 0.0
            return replace(taken, shots=tuple(replace(s, shift=value, mean_shift=value) for s in taken.shots))

    bisected = bisect(Misleading({"net": {30: 0.08}}))
    assert ("c10",) not in steps_of(bisected)
    assert bisected.verdict in (BisectVerdict.FOUND, BisectVerdict.UNDECIDED)
    if bisected.verdict is BisectVerdict.FOUND:
        assert steps_of(bisected) == [("c30",)]


def test_a_good_end_that_breaks_in_the_middle_is_an_error() -> None:
    class Breaking(FakeMeasurer):
        def session(self, base: str, head: str, ends: Ends, cells: tuple[Cell, ...]) -> Shots:
            return Shots(shots=tuple(Shot(cell_key=one.key, side="base", reason="killed") for one in cells))

    with pytest.raises(BenchError, match="measured before and cannot be any more: killed"):
        bisect(Breaking({"net": {17: 0.08}}))


def test_twenty_noisy_histories_never_name_a_wrong_commit() -> None:
    right = 0
    rng = random.Random(5)
    for seed in range(20):
        at = rng.randint(1, 40)
        found = steps_of(bisect(FakeMeasurer({"net": {at: 0.077}}, noise=0.018, seed=seed)))
        assert found in ([], [(f"c{at}",)])
        right += bool(found)
    assert right >= 18


def test_a_branch_is_searched_where_all_parents_are_asked_for() -> None:
    # c0 - c1 - c3 (merge of c1 and c2) - c4; c2 branches off c0, and made it slower
    holds = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]], dtype=bool)
    commits = tuple(Commit(name=f"c{index}") for index in range(1, 5))
    branched = History(good=Commit(name="c0"), commits=commits, parents=("c0", "c0", "c1", "c3"), holds=holds)

    class Branched(FakeMeasurer):
        def shift(self, base: str, head: str, one: Cell) -> float:
            slow = {"c2", "c3", "c4"}
            return 0.08 * ((head in slow) - (base in slow)) + self.random.gauss(0, self.noise)

    measurer = Branched({})
    bisected = Bisecting(history=branched, measurer=measurer, cells=(cell("net"),), fail_at=0.02).run()
    assert steps_of(bisected) == [("c2",)]
    assert measurer.asked[-1] == ("compare", "c0", "c2")


def test_a_bisection_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    class Killed(FakeMeasurer):
        def session(self, base: str, head: str, ends: Ends, cells: tuple[Cell, ...]) -> Shots:
            if len(self.asked) == 6:
                raise KeyboardInterrupt
            return super().session(base, head, ends, cells)

    path = tmp_path / "answers.jsonl"
    first = Killed({"net": {17: 0.08}})
    with pytest.raises(KeyboardInterrupt):
        bisect(Journal(first, path))  # type: ignore[arg-type]
    path.write_text(path.read_text() + '{"asked": ["sess')  # killed while it wrote
    second = FakeMeasurer({"net": {17: 0.08}}, seed=4)
    bisected = bisect(Journal(second, path))  # type: ignore[arg-type]
    assert steps_of(bisected) == [("c17",)]
    assert ("compare", "c0", "c40") not in second.asked
    third = FakeMeasurer({})
    again = bisect(Journal(third, path))  # type: ignore[arg-type]
    assert (again, third.asked) == (bisected, [])
    with pytest.raises(StoreError, match="other questions"):
        bisect(Journal(third, path), count=30)  # type: ignore[arg-type]


def test_a_session_that_the_budget_ended_is_measured_again(tmp_path: Path) -> None:
    journal = Journal(FakeMeasurer({"net": {17: 0.08}}), tmp_path / "answers.jsonl")
    journal._measurer.session = lambda *_: Shots(shots=(Shot(cell_key="k"),))  # type: ignore[method-assign]
    journal.session("c0", "c1", Ends(comparisons=(), cells=()), ())
    assert not (tmp_path / "answers.jsonl").exists()
