"""Every way a user's model can end a cell, through the real executor and real processes: always one whole record."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bench.core.advice import AdviceKind
from bench.core.cell import Cell
from bench.core.jsonio import from_json, to_json
from bench.core.record import Outcome, Phase, Record, Sampling
from bench.runner import processes
from bench.runner.executor import LocalExecutor

USER = Path(__file__).parent / "user_models.py"
SHORT = Sampling(budget_seconds=0.01, min_steps=2, min_warmup_steps=1, max_warmup_steps=1)


def run(model, *, shape=(4,), sampling=SHORT, **options):
    cell = Cell(model=f"{USER}:{model}", batch_size=2, input_shape=shape, threads=1)
    record = LocalExecutor(sampling=sampling, **options).run(cell)
    assert record.cell == cell  # as it was asked for, to the last field
    assert from_json(Record, to_json(record)) == record
    assert (record.reason is None) == (record.outcome is Outcome.OK)
    assert record.code is not None
    return record


@pytest.mark.parametrize("phase", ["forward", "loss", "backward", "optimizer", "batch"])
def test_an_exception_in_any_phase_is_a_failure_that_says_it(phase):
    record = run(f"breaks_in@phase={phase}", shape=None)
    assert (record.outcome, record.reason) == (Outcome.FAILED, f"ArithmeticError: broken in {phase}")
    assert "in check\n" in record.output_tail  # the traceback
    assert AdviceKind.COUNT_FAILED not in {one.kind for one in record.advice}  # no times that it would leave valid


def test_an_exception_while_building_is_a_failure_that_says_it():
    record = run("breaks_in@phase=build", shape=None)
    assert record.outcome is Outcome.FAILED
    assert "broken in build" in record.reason


@pytest.mark.parametrize(
    ("what", "outcome", "words"),
    [
        ("segfault", Outcome.KILLED, "SIGSEGV"),
        ("kill", Outcome.KILLED, "SIGKILL"),
        ("vanish", Outcome.FAILED, "exit code 7"),
        ("leave", Outcome.FAILED, "SystemExit: 3"),
        ("raise_interrupt", Outcome.FAILED, "KeyboardInterrupt"),
        ("ask", Outcome.FAILED, "EOFError"),
        ("allocate_too_much", Outcome.OUT_OF_MEMORY, "can't allocate memory"),
        ("raise_torch_out_of_memory", Outcome.OUT_OF_MEMORY, "CUDA out of memory"),
        ("print_much", Outcome.FAILED, "after a lot of text"),
        ("close_output", Outcome.FAILED, "nobody hears this"),
    ],
)
def test_a_model_that_ends_its_process_is_a_record_with_the_reason(what, outcome, words):
    record = run(f"Does@what={what}", is_predicting=False)
    assert record.outcome is outcome
    assert words in record.reason
    assert record.samples == ()


def test_a_model_that_prints_megabytes_leaves_a_short_tail():
    tail = run("Does@what=print_much").output_tail
    assert len(tail) <= 2000
    assert "after a lot of text" in tail


def test_a_model_that_hangs_is_timed_out():
    record = run("Does@what=hang", timeout_seconds=2.0)
    assert (record.outcome, record.reason) == (Outcome.TIMED_OUT, "took longer than 2 s")


@pytest.mark.slow
def test_a_cell_of_long_steps_has_the_time_that_they_need(monkeypatch):
    monkeypatch.setattr(processes, "DEFAULT_TIMEOUT_SECONDS", 5.0)
    sampling = replace(SHORT, floor_seconds=0.01, min_steps=20)
    steps = run("Does@what=nap", sampling=sampling, is_predicting=False).sample_seconds(Phase.STEP)
    assert len(steps) == 5  # and 5 split ones, one to warm up, one for the loss, of 0.6 s each
    assert run("Does@what=nap", sampling=sampling, timeout_seconds=5.0).reason == "took longer than 5 s"


@pytest.mark.parametrize("what", ["fork_and_leave_it", "leave_a_thread", "move_away"])
def test_a_model_that_misbehaves_but_ends_is_measured(what):
    before = Path.cwd(), dict(os.environ)
    record = run(f"Does@what={what}")
    assert record.outcome is Outcome.OK, record.reason
    assert record.sample_seconds(Phase.STEP)
    assert (Path.cwd(), dict(os.environ)) == before


def test_a_loss_that_is_not_finite_is_an_advice_not_an_ending():
    record = run("nan_loss", shape=None)
    assert record.outcome is Outcome.OK
    assert AdviceKind.NONFINITE_LOSS in [advice.kind for advice in record.advice]


def test_a_cell_that_cannot_fit_is_not_tried_and_both_figures_are_said():
    record = run("too_wide")
    (facts,) = (dict(advice.facts) for advice in record.advice if advice.kind is AdviceKind.MEMORY_TOO_SMALL)
    assert record.outcome is Outcome.SKIPPED
    assert facts["predicted_bytes"] == record.counters.predicted_peak.total_bytes > 1 << 50
    assert 0 < facts["free_bytes"] < 1 << 50
    assert "PiB exceeds the" in record.reason and "--no-predict" in record.reason


def test_without_prediction_it_is_tried_and_the_allocator_refuses():
    record = run("too_wide", is_predicting=False)
    assert record.outcome is Outcome.OUT_OF_MEMORY
    assert record.counters.predicted_peak is not None
