from __future__ import annotations

from dataclasses import replace

import pytest

from bench.core.record import Outcome
from bench.report.formats.markdown import write_document
from bench.tables.document import page_text
from bench.tables.table import Page
from bench.tables.training import pipeline_document, training_document
from tests.goldens import check_golden
from tests.trainings import make_classification, make_epoch, make_point, make_training


def test_a_training_fits_80_columns() -> None:
    check_golden("training-80.txt", page_text(training_document(make_training()), Page()) + "\n")


def test_a_training_as_markdown() -> None:
    check_golden("training.md", write_document(training_document(make_training())) + "\n")


def test_parts_are_shares_of_the_wall_time_beside_their_sum() -> None:
    text = page_text(training_document(make_training()), Page())
    row = next(line.split() for line in text.splitlines() if line.split()[:1] == ["all"])
    assert row[1:] == ["10.5", "0.0", "25.0", "1.0", "50.0", "10.0", "1.5", "98.0", "392", "400"]


def test_parts_that_do_not_add_up_are_not_shown() -> None:
    training = make_training()
    short = replace(
        training.run, epochs=tuple(replace(epoch, seconds=epoch.seconds * 1.5) for epoch in training.run.epochs)
    )
    text = page_text(training_document(replace(training, run=short)), Page())
    row = next(line.split() for line in text.splitlines() if line.split()[:1] == ["all"])
    assert row[1:] == ["-"] * 7 + ["65.3", "392", "600"]


def test_words_say_when_the_target_was_reached_or_that_it_was_not() -> None:
    training = make_training()
    words = " ".join(page_text(training_document(training), Page()).split())
    assert "The target of 80.0 % was reached with epoch 2, after 500 ms of training and evaluation." in words
    higher = replace(training, plan=replace(training.plan, target_accuracy=0.99))
    assert "The target of 99.0 % was not reached." in page_text(training_document(higher), Page())


def test_the_advice_of_a_starved_step_has_its_figures() -> None:
    words = " ".join(page_text(training_document(make_training()), Page()).split())
    assert "Input-starved (with 2 workers it waits 30.0 ms and works 10.0 ms: 75 % of the time is waiting)" in words


def test_what_did_not_end_shows_what_there_is() -> None:
    training = make_training(outcome=Outcome.KILLED, reason="stopped in epoch 2 after step 1")
    stopped = replace(training, run=replace(training.run, epochs=(make_epoch(),), classification=None))
    text = page_text(training_document(stopped), Page())
    assert "KILLED: stopped in epoch 2 after step 1" in text and "precision" not in text
    nothing = page_text(training_document(replace(training, run=None)), Page())
    assert nothing.endswith("KILLED: stopped in epoch 2 after step 1") and "my_net@classes=10" in nothing


def test_a_loss_that_is_not_finite_is_missing_and_never_nan() -> None:
    training = make_training()
    lost = make_epoch(losses=(2.0, None), test_loss=None)
    text = page_text(training_document(replace(training, run=replace(training.run, epochs=(lost,)))), Page())
    assert "nan" not in text.lower() and "loss -;" in text


def test_predictions_of_no_class_have_a_column() -> None:
    training = make_training()
    outside = make_classification(outside=(3, *[0] * 9))
    text = page_text(training_document(replace(training, run=replace(training.run, classification=outside))), Page())
    assert next(line for line in text.splitlines() if line.startswith("true")).split()[-1] == "other"


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_page(width) -> None:
    text = (
        page_text(training_document(make_training()), Page(width=width))
        + "\n"
        + page_text(pipeline_document([make_point()]), Page(width=width))
    )
    assert max(map(len, text.splitlines())) <= width


def test_a_pipeline_says_what_both_reach_of_the_slower_one() -> None:
    failed = make_point(outcome=Outcome.OUT_OF_MEMORY, reason="no room", data_seconds=(), joint_seconds=(), advice=())
    text = page_text(pipeline_document([make_point(), failed]), Page())
    check_golden("pipeline-80.txt", text + "\n")
    words = " ".join(text.split())
    assert "the loader is the slower one, and both together reach 100 % of it; a step waits 30.0 ms" in words
    assert "OUT OF MEMORY: no room" in words
