"""Ratios of times: two cells as the two arms of a comparison, judged by sessions."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from bench.core.cell import Cell, Mode
from bench.core.claim import CheckedClaim, Claim, ClaimVerdict, Relation
from bench.core.environment import MachineState
from bench.runner.ab.arm import ArmError
from bench.runner.ab.ratios import check_times, pair_of
from bench.runner.ab.stages import Settings
from tests.runner.ab_fakes import BUSY, QUIET, FakeMachine

SPEEDS = {"lstm": 1.0, "gru": 0.8, "rnn": 0.5}


def claim(subject: str, reference: str, value: float = 1, relation: Relation = Relation.BELOW, **more: object) -> Claim:
    return Claim(
        id=f"{subject}/{reference}",
        model=subject,
        quantity="step_seconds",
        value=value,
        relation=relation,
        cell=Cell(model=subject, batch_size=8),
        reference_cell=Cell(model=reference, batch_size=8),
        **more,  # type: ignore[arg-type]
    )


def check(machine: FakeMachine, *claims: Claim, sessions: int = 9) -> tuple[CheckedClaim, ...]:
    settings = Settings(sessions=sessions, quads=2, seed=3)
    return check_times(claims, settings=settings, start=machine.start, environments={})


def machine(**options: object) -> FakeMachine:
    return FakeMachine(speed=lambda _side, model: SPEEDS[model], **options)  # type: ignore[arg-type]


def test_a_ratio_is_that_of_the_two_cells_speeds() -> None:
    checked, *_ = check(machine(), claim("gru", "lstm"))
    assert checked.verdict is ClaimVerdict.MATCH
    assert checked.measured == pytest.approx(0.8, rel=0.02)
    assert checked.interval is not None
    assert checked.interval.low is not None and checked.interval.high is not None
    assert checked.interval.low < 0.8 * 1.01 and checked.interval.high > 0.8 * 0.99
    assert checked.interval.n == 9


def test_the_subject_is_the_head_and_the_reference_the_base() -> None:
    fake = machine()
    check(fake, claim("gru", "lstm"))
    assert {(side, model) for side, model, _ in fake.visits} == {("head", "gru"), ("base", "lstm")}


def test_a_claim_that_is_false_here_is_a_mismatch() -> None:
    (checked,) = check(machine(), claim("lstm", "gru"))
    assert checked.verdict is ClaimVerdict.MISMATCH
    assert checked.reason.startswith("false on this machine: 1.2")


def test_equal_cells_are_inconclusive_and_never_both() -> None:
    noisy = FakeMachine(speed=lambda _side, _model: 1.0, process_noise=0.05, seed=5)
    (checked,) = check(noisy, claim("gru", "lstm"))
    assert checked.verdict is ClaimVerdict.INCONCLUSIVE
    assert "neither shown nor refuted" in checked.reason


def test_claims_about_one_subject_and_two_references_are_kept_apart() -> None:
    first, second, third = check(
        machine(), claim("gru", "lstm"), claim("gru", "rnn", relation=Relation.ABOVE), claim("gru", "lstm", 0.85)
    )
    assert first.measured == pytest.approx(0.8, rel=0.02)
    assert second.measured == pytest.approx(1.6, rel=0.02)
    assert third.measured == first.measured
    assert {one.verdict for one in (first, second, third)} == {ClaimVerdict.MATCH}


def test_a_bound_other_than_one_is_what_is_tested() -> None:
    (checked,) = check(machine(), claim("gru", "lstm", 0.7))
    assert checked.verdict is ClaimVerdict.MISMATCH
    (figure,) = check(machine(), claim("gru", "lstm", 0.8, Relation.EQUAL, tolerance=0.1))
    assert figure.verdict is ClaimVerdict.MATCH


def test_unchanged_cells_are_rarely_called_different() -> None:
    wrong = 0
    for seed in range(60):
        fake = FakeMachine(
            speed=lambda _side, _model: 1.0, process_noise=0.02, seed=random.Random(seed).randrange(2**31)
        )
        (checked,) = check(fake, claim("gru", "lstm"))
        wrong += checked.verdict is ClaimVerdict.MISMATCH
    assert wrong <= 8  # 5 % of 60 is 3; more than 8 has a chance below 0.4 %


def test_a_machine_that_cannot_be_measured_on_gives_no_verdict() -> None:
    (checked,) = check(machine(state=lambda _index: BUSY), claim("gru", "lstm"))
    assert checked.verdict is ClaimVerdict.UNMEASURED
    assert "void" in checked.reason


def test_a_session_that_the_machine_spoils_is_measured_again() -> None:
    def state(index: int) -> MachineState:
        return BUSY if index == 2 else QUIET

    (checked,) = check(machine(state=state), claim("gru", "lstm"))
    assert checked.interval is not None
    assert checked.interval.n == 9


def test_a_cell_that_fails_is_unmeasured_and_says_why_and_the_others_stand() -> None:
    def misbehave(side: str, model: str, _what: str) -> None:
        if model == "rnn":
            raise ArmError(side, "RuntimeError: no such kernel")

    failed, fine = check(machine(misbehave=misbehave), claim("rnn", "lstm"), claim("gru", "lstm"))
    assert (failed.verdict, failed.reason) == (ClaimVerdict.UNMEASURED, "RuntimeError: no such kernel")
    assert fine.verdict is ClaimVerdict.MATCH


def test_sessions_that_could_show_nothing_of_so_many_claims_are_told() -> None:
    claims = [claim("gru", "lstm"), claim("rnn", "lstm"), claim("rnn", "gru"), claim("lstm", "rnn")]
    found = check(machine(), *claims, sessions=6)
    assert {one.verdict for one in found} == {ClaimVerdict.INCONCLUSIVE}
    assert found[0].reason.endswith(
        "; 6 sessions can show nothing of 4 claims together: more --sessions, or fewer claims"
    )
    assert {one.verdict for one in check(machine(), *claims, sessions=9)} == {ClaimVerdict.MATCH, ClaimVerdict.MISMATCH}


def test_too_few_sessions_are_inconclusive() -> None:
    (checked,) = check(machine(), claim("gru", "lstm"), sessions=5)
    assert checked.verdict is ClaimVerdict.INCONCLUSIVE
    assert checked.reason == "5 sessions are too few for an interval"


def test_no_claims_start_no_worker() -> None:
    fake = machine()
    assert check(fake) == ()
    assert fake.started == []


def test_a_pair_is_named_by_both_cells_on_the_device() -> None:
    assert pair_of(claim("gru", "lstm"), "cuda:1").id == "gru : lstm/train/b8/cuda:1/fp32"
    inferred = replace(claim("gru", "gru"), reference_cell=Cell(model="gru", mode=Mode.INFER, batch_size=8))
    assert pair_of(inferred, "cpu").model == "gru : gru/infer/b8/cpu/fp32"
