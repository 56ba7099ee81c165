from __future__ import annotations

import itertools
import math
import random
import re

import pytest

from bench.core.comparison import Comparison, ComparisonReason, ComparisonVerdict, ShownBy
from bench.core.environment import MachineState
from bench.core.errors import ExitCode, UsageError
from bench.runner.ab.arm import ArmDiedError, ArmError, TimeUpError
from bench.runner.ab.judging import Fate, Work, exit_code, with_work
from bench.runner.ab.session import VISIT_SECONDS
from bench.runner.ab.stages import Comparing, Judged, Progress, Settings, refuse_hopeless
from bench.stats.looks import Threshold
from tests.runner.ab_fakes import BUSY, QUIET, STEP_SECONDS, FakeMachine, cell

MLP, CNN = cell("mlp"), cell("cnn")
FEW = Settings(quads=2, seed=7)


def compare(machine: FakeMachine, *cells: object, settings: Settings = FEW, **options: object) -> Judged:
    return Comparing(cells or (MLP,), settings, machine.start, **options).run()  # type: ignore[arg-type]


def test_unchanged_code_is_same_after_five_sessions() -> None:
    machine = FakeMachine()
    judged = compare(machine)
    assert judged.comparisons[0].verdict is ComparisonVerdict.SAME
    assert len(judged.sessions) == 5
    assert judged.comparisons[0].minimum_detectable is not None


def test_a_slower_head_is_slower_after_six_sessions() -> None:
    machine = FakeMachine(speed=lambda side, _: 1.05 if side == "head" else 1.0)
    judged = compare(machine)
    comparison = judged.comparisons[0]
    assert comparison.verdict is ComparisonVerdict.SLOWER
    assert comparison.shown_by is ShownBy.EVERY_STEP
    assert [s.stage for s in judged.sessions] == ["session"] * 6
    assert len(comparison.session_shifts) == 6
    assert comparison.shift == pytest.approx(math.log(1.05), abs=0.01)
    assert comparison.p_adjusted == pytest.approx(2**-6 / 0.4)
    assert comparison.base is not None
    assert comparison.base.point == pytest.approx(STEP_SECONDS, rel=0.01)


def test_a_faster_head_is_found_by_the_mirrored_test() -> None:
    machine = FakeMachine(speed=lambda side, _: 0.9 if side == "head" else 1.0)
    assert compare(machine).comparisons[0].verdict is ComparisonVerdict.FASTER


def test_a_decided_cell_leaves_and_the_others_go_on() -> None:
    machine = FakeMachine(speed=lambda side, model: 1.1 if (side, model) == ("head", "cnn") else 1.0)
    judged = compare(machine, MLP, CNN)
    assert [c.verdict for c in judged.comparisons] == [ComparisonVerdict.SAME, ComparisonVerdict.SLOWER]
    assert [len(s.cells) for s in judged.sessions] == [2] * 5 + [1] * 3
    assert {one.cell for one in judged.sessions[-1].cells} == {CNN}


def test_every_session_is_a_fresh_pair_and_every_worker_is_closed() -> None:
    machine = FakeMachine()
    judged = compare(machine, MLP, CNN)
    assert len(machine.started) == 2 * len(judged.sessions) == machine.closed
    for index, session in enumerate(judged.sessions):
        pair = machine.started[2 * index : 2 * index + 2]
        assert sorted(pair) == ["base", "head"]
        assert pair[0] == session.first


def test_new_servers_are_asked_for_at_every_look_and_only_then() -> None:
    sessions, renewed = [], []
    machine = FakeMachine(speed=lambda side, _: 1.03 if side == "head" else 1.0, process_noise=0.02)
    compare(machine, listen=sessions.append, renew=lambda: renewed.append(len(sessions)))
    assert len(sessions) > 6
    assert renewed == [look - 1 for look in (5, 6, 8, 10, 14, 18) if look <= len(sessions)]


def test_which_side_is_started_first_is_a_coin_that_the_seed_repeats() -> None:
    firsts = []
    for _ in range(2):
        machine = FakeMachine()
        judged = compare(machine, settings=Settings(sessions=18, stops=False, quads=1, seed=3))
        firsts.append([s.first for s in judged.sessions])
    assert firsts[0] == firsts[1]
    assert 4 <= firsts[0].count("base") <= 14


def test_quads_are_abba_or_baab_by_coin() -> None:
    machine = FakeMachine()
    compare(machine, settings=Settings(sessions=18, stops=False, quads=2, seed=3))
    sides = [side for side, _, _ in machine.visits]
    quads = {tuple(sides[i : i + 4]) for i in range(0, len(sides), 4)}
    assert quads == {("base", "head", "head", "base"), ("head", "base", "base", "head")}


def test_visits_of_both_sides_have_equally_many_steps_and_last_25_ms() -> None:
    machine = FakeMachine(speed=lambda side, _: 3.0 if side == "head" else 1.0)
    judged = compare(machine, settings=Settings(sessions=1, stops=False, quads=2, seed=3))
    steps = {steps for _, _, steps in machine.visits[4:]}  # the first quad is thrown away
    assert len(steps) == 1
    shortest = min(sum(visit) for one in judged.sessions[0].cells for quad in one.quads for visit in quad.base)
    assert shortest >= VISIT_SECONDS * 0.99


def test_a_session_on_a_busy_machine_is_void_counted_and_measured_again() -> None:
    machine = FakeMachine(state=lambda index: BUSY if index == 1 else QUIET)
    judged = compare(machine)
    assert judged.comparisons[0].voided == (("busy cores", 1),)
    assert len(judged.sessions) == 6
    assert len(judged.comparisons[0].session_shifts) == 5
    assert judged.unfit is None


def test_voiding_never_looks_at_the_outcome() -> None:
    luck = random.Random(5)
    machine = FakeMachine(speed=lambda _side, _: luck.lognormvariate(0, 0.5))
    judged = compare(machine)
    assert judged.comparisons[0].voided == ()
    assert len(judged.sessions) == len(judged.comparisons[0].session_shifts)


def test_a_machine_that_is_always_busy_is_unfit_and_given_up_early() -> None:
    judged = compare(FakeMachine(state=lambda _: BUSY))
    assert judged.unfit is not None
    assert "busy cores 3" in judged.unfit
    assert len(judged.sessions) == 3
    assert judged.comparisons[0].reason is ComparisonReason.TOO_FEW_SESSIONS
    assert exit_code(judged.comparisons, unfit=True, strict=False) is ExitCode.UNFIT


def test_with_no_void_a_busy_machine_is_judged_all_the_same() -> None:
    judged = compare(FakeMachine(state=lambda _: BUSY), settings=Settings(quads=2, seed=7, judges_state=False))
    assert judged.comparisons[0].verdict is ComparisonVerdict.SAME


def test_a_cell_that_raises_on_one_side_is_a_row_and_the_others_go_on() -> None:
    def misbehave(side: str, model: str, what: str) -> None:
        if (side, model, what) == ("base", "cnn", "build"):
            raise ArmError("base", "RuntimeError: no such kernel")

    machine = FakeMachine(misbehave=misbehave)
    judged = compare(machine, MLP, CNN)
    assert judged.comparisons[0].verdict is ComparisonVerdict.SAME
    assert judged.comparisons[1].verdict is ComparisonVerdict.INCOMPARABLE
    assert judged.comparisons[1].reason is ComparisonReason.MISSING_SIDE
    assert dict(judged.comparisons[1].facts) == {"side": "base", "error": "RuntimeError: no such kernel"}
    assert sum(one.cell == CNN for s in judged.sessions for one in s.cells) == 1
    assert machine.closed == len(machine.started)


def test_code_that_was_edited_while_it_was_measured_has_no_verdict() -> None:
    built = iter(range(100))
    machine = FakeMachine(stamp=lambda: "before" if next(built) < 5 else "after")
    judged = compare(machine)
    assert judged.comparisons[0].verdict is ComparisonVerdict.INCOMPARABLE
    assert "net.py was edited while it was measured" in str(dict(judged.comparisons[0].facts)["error"])
    assert len(judged.sessions) == 3


def test_a_worker_killed_once_voids_its_session_and_twice_ends_its_cell() -> None:
    deaths = {"cnn": 2, "mlp": 1}

    def misbehave(side: str, model: str, what: str) -> None:
        if side == "head" and what == "visit" and deaths[model] > 0:
            deaths[model] -= 1
            raise ArmDiedError("head", "the worker was killed by SIGKILL")

    machine = FakeMachine(misbehave=misbehave)
    judged = compare(machine, MLP, CNN)
    mlp, cnn = judged.comparisons
    assert mlp.verdict is ComparisonVerdict.SAME
    assert mlp.voided == (("head died", 1),)
    assert len(mlp.session_shifts) == 5
    assert cnn.verdict is ComparisonVerdict.INCOMPARABLE
    assert "SIGKILL" in str(dict(cnn.facts)["error"])
    assert judged.unfit is None
    assert machine.closed == len(machine.started)


def test_an_interrupt_closes_both_workers() -> None:
    def misbehave(side: str, model: str, what: str) -> None:
        if what == "visit" and side == "head":
            raise KeyboardInterrupt

    machine = FakeMachine(misbehave=misbehave)
    with pytest.raises(KeyboardInterrupt):
        compare(machine)
    assert machine.closed == len(machine.started) == 2


def test_a_worker_that_cannot_be_started_leaves_no_other_behind() -> None:
    machine = FakeMachine()

    def start(side: str) -> object:
        if len(machine.started) == 1:
            raise KeyboardInterrupt
        return machine.start(side)

    with pytest.raises(KeyboardInterrupt):
        Comparing((MLP,), FEW, start).run()  # type: ignore[arg-type]
    assert machine.closed == len(machine.started) == 1


def test_a_budget_is_a_bound_and_what_it_leaves_undecided_is_inconclusive() -> None:
    now = iter(range(100))  # every look at the clock is a second later
    machine = FakeMachine(speed=lambda side, _: 1.2 if side == "head" else 1.0)
    settings = Settings(quads=2, seed=7, budget_seconds=5.5)
    judged = compare(machine, settings=settings, clock=lambda: float(next(now)))
    assert judged.is_cut_short
    assert judged.comparisons[0].verdict is ComparisonVerdict.INCONCLUSIVE
    assert judged.comparisons[0].reason is ComparisonReason.BUDGET_ENDED


def test_a_worker_that_is_not_ready_within_the_budget_ends_the_session() -> None:
    machine = FakeMachine()

    def start(side: str) -> object:
        if len(machine.started) == 3:  # a session has two
            raise TimeUpError(side)
        return machine.start(side)

    settings = Settings(quads=2, seed=7, budget_seconds=13.5)
    is_up = lambda: 14.0 * (len(machine.started) > 2)  # noqa: E731 - while the second session begins
    judged = Comparing((MLP,), settings, start, clock=is_up).run()  # type: ignore[arg-type]
    assert judged.is_cut_short
    assert [len(c.session_shifts) for c in judged.comparisons] == [1]
    assert judged.comparisons[0].reason is ComparisonReason.BUDGET_ENDED
    assert machine.closed == len(machine.started) == 3


def test_a_session_cut_by_the_budget_counts_what_it_completed() -> None:
    machine = FakeMachine()
    settings = Settings(quads=2, seed=7, budget_seconds=13.5)  # a visit takes a second, so a cell 12
    judged = compare(machine, MLP, CNN, settings=settings, clock=lambda: float(len(machine.visits)))
    assert judged.is_cut_short
    assert len(machine.visits) <= 13 + 4  # a quad that has begun is finished
    assert sorted(len(c.session_shifts) for c in judged.comparisons) == [0, 1]
    assert {c.reason for c in judged.comparisons} == {ComparisonReason.BUDGET_ENDED}
    assert exit_code(judged.comparisons, unfit=False, strict=True) is ExitCode.INCONCLUSIVE
    assert machine.closed == len(machine.started)


def test_too_few_sessions_are_never_same() -> None:
    judged = compare(FakeMachine(), settings=Settings(sessions=2, stops=False, quads=2, seed=7))
    assert judged.comparisons[0].verdict is ComparisonVerdict.INCONCLUSIVE
    assert exit_code(judged.comparisons, unfit=False, strict=False) is ExitCode.FINE
    assert exit_code(judged.comparisons, unfit=False, strict=True) is ExitCode.INCONCLUSIVE


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(sessions=4, seed=7), "--sessions 4: fewer than 5 sessions decide nothing"),
        (
            Settings(threshold=Threshold(alpha=1e-6), seed=7),
            "--alpha 1e-06: 18 sessions of 1 cell can never show a slowdown at this level; take a larger --alpha",
        ),
        (
            Settings(sessions=6, threshold=Threshold(alpha=0.01), seed=7),
            "take more --sessions (at most 18) or a larger --alpha",
        ),
    ],
)
def test_a_plan_that_could_never_alarm_is_refused_in_words(settings: Settings, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        refuse_hopeless(settings.plan(1))
    with pytest.raises(UsageError, match=r"fewer than 5|take more --sessions|take fewer cells or a larger --alpha"):
        refuse_hopeless(settings.plan(9))


def test_any_other_alpha_works() -> None:
    machine = FakeMachine(speed=lambda side, _: 1.1 if side == "head" else 1.0)
    comparison = compare(machine, settings=Settings(threshold=Threshold(alpha=0.01), quads=2, seed=7)).comparisons[0]
    assert comparison.verdict is ComparisonVerdict.SLOWER
    assert comparison.p_adjusted is not None and comparison.p_adjusted <= 0.01
    same = compare(FakeMachine(), settings=Settings(threshold=Threshold(alpha=0.01), quads=2, seed=7)).comparisons[0]
    assert same.verdict is ComparisonVerdict.SAME


def test_a_calibration_counts_for_what_would_be_seen() -> None:
    judged = compare(FakeMachine(), spreads={MLP.key: 0.045})
    assert judged.comparisons[0].minimum_detectable == pytest.approx(FEW.detectable(0.045, 1))


def wild_head(*wild: int) -> FakeMachine:
    """A head that is 7 % slower, but far faster in some sessions; sessions are counted from 0."""
    machine = FakeMachine()

    def speed(side: str, _: str) -> float:
        session = (len(machine.started) - 1) // 2
        return 1.0 if side == "base" else 0.85 if session in wild else 1.07

    machine.speed = speed
    return machine


def test_a_wild_session_costs_further_ones_and_not_the_verdict() -> None:
    judged = compare(wild_head(3))
    comparison = judged.comparisons[0]
    assert comparison.verdict is ComparisonVerdict.SLOWER
    assert 6 < len(comparison.session_shifts) <= 10
    assert min(comparison.session_shifts) < -0.1
    assert comparison.shift == pytest.approx(math.log(1.07), abs=0.01)


def test_a_slowdown_of_some_steps_only_is_found_and_told_apart() -> None:
    machine = FakeMachine()
    count = itertools.count()
    machine.step_factor = lambda side: 2.0 if side == "head" and next(count) % 20 == 0 else 1.0
    comparison = compare(machine).comparisons[0]
    assert comparison.verdict is ComparisonVerdict.SLOWER
    assert comparison.shown_by is ShownBy.ON_AVERAGE
    assert comparison.shift == pytest.approx(math.log(1.05), abs=0.01)


def test_a_cell_known_to_be_missing_is_a_row_without_a_session() -> None:
    machine = FakeMachine()
    judged = compare(machine, MLP, fates={MLP.key: Fate(side="base", reason="no model named 'mlp'")})
    assert judged.comparisons[0].verdict is ComparisonVerdict.INCOMPARABLE
    assert machine.started == []


def test_the_injected_slowdown_reaches_only_its_side() -> None:
    machine = FakeMachine()
    judged = compare(machine, settings=Settings(quads=2, seed=7, slow=(("head", 0.05),)))
    assert judged.comparisons[0].verdict is ComparisonVerdict.SLOWER
    assert judged.comparisons[0].shift == pytest.approx(math.log(1.05), abs=0.01)


def test_the_time_left_comes_from_the_sessions_that_ended() -> None:
    heard: list[Progress] = []
    compare(FakeMachine(), listen=heard.append)
    assert [(p.done, p.planned, p.undecided) for p in heard] == [*((i, 5, 1) for i in range(1, 5)), (5, 5, 0)]
    mean = sum(p.session.seconds for p in heard[:3]) / 3
    assert heard[2].seconds_left == pytest.approx(2 * mean)
    assert heard[2].seconds_more == pytest.approx(13 * mean)
    assert (heard[4].seconds_left, heard[4].seconds_more) == (0, 0)
    assert heard[2].budget_seconds is None
    compare(FakeMachine(), settings=Settings(quads=2, seed=7, budget_seconds=3600.0), listen=heard.append)
    assert heard[-1].budget_seconds == pytest.approx(3600, abs=600)


def _comparison(verdict: ComparisonVerdict) -> Comparison:
    return Comparison(cell_id="mlp", cell_key="k", verdict=verdict, reason=ComparisonReason.SLOWDOWN_EXCLUDED)


@pytest.mark.parametrize(
    ("verdicts", "unfit", "strict", "code"),
    [
        (["same", "faster"], False, True, ExitCode.FINE),
        (["same", "slower", "incomparable"], True, True, ExitCode.REGRESSION),
        (["incomparable", "same"], False, False, ExitCode.UNFIT),
        (["inconclusive"], False, False, ExitCode.FINE),
        (["inconclusive"], False, True, ExitCode.INCONCLUSIVE),
        (["same"], True, False, ExitCode.UNFIT),
    ],
)
def test_one_exit_code_answers_for_the_whole_suite(
    verdicts: list[str], unfit: bool, strict: bool, code: ExitCode
) -> None:
    comparisons = [_comparison(ComparisonVerdict(verdict)) for verdict in verdicts]
    assert exit_code(comparisons, unfit=unfit, strict=strict) is code


def test_other_parameters_are_other_work_and_are_timed_without_a_verdict() -> None:
    machine = FakeMachine(speed=lambda side, _: 1.5 if side == "head" else 1.0)
    judged = compare(machine)
    facts = (("parameters_base", 10), ("parameters_head", 20))
    found = with_work(judged.comparisons, {MLP.key: Work(facts=facts, is_same=False)})
    assert found[0].verdict is ComparisonVerdict.INCOMPARABLE
    assert found[0].reason is ComparisonReason.DIFFERENT_WORK
    assert found[0].shift == judged.comparisons[0].shift
    assert set(facts) <= set(found[0].facts)


def test_the_other_worker_on_the_gpu_is_no_stranger() -> None:
    state = MachineState(gpu_other_processes=1)
    assert compare(FakeMachine(state=lambda _: state)).comparisons[0].voided == ()
    stranger = MachineState(gpu_other_processes=2)
    assert compare(FakeMachine(state=lambda _: stranger)).unfit is not None
