"""Training by the loop that is measured, against a loop written here by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from bench import registry
from bench.core.advice import AdviceKind
from bench.core.errors import StoreError, UsageError
from bench.core.training import Part
from bench.device.prepare import prepare
from bench.measure.scenarios import training as training_module
from bench.measure.scenarios.evaluation import Evaluation, classify
from bench.measure.scenarios.images import open_digits
from bench.measure.scenarios.training import train
from bench.measure.window import Window
from bench.tables.training import score_columns
from tests.fakes.clock import CountingHostClock
from tests.measure.scenarios.small import MODEL, small_plan


def losses(run) -> list:
    return [loss for epoch in run.epochs for loss in epoch.losses]


def test_the_losses_are_those_of_a_loop_written_by_hand(data) -> None:
    plan = small_plan(data)
    run = train(plan)
    digits = open_digits(plan, (784,))
    expected = []
    with prepare(registry.resolve(MODEL), replace(plan.cell, batch_size=2)) as step:  # only to start from its weights
        model = step.model
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
        for epoch in (1, 2):
            for images, labels in digits.train_loader(plan, epoch):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
                expected.append(loss.item())
        model.eval()
        with torch.no_grad():
            outputs = [(model(images), labels) for images, labels in digits.test_loader(plan)]
    logits, labels = (torch.cat(tensors) for tensors in zip(*outputs, strict=True))
    assert losses(run) == expected
    assert run.final_loss == expected[-1]
    assert run.epochs[-1].test_loss == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)
    assert run.epochs[-1].test_accuracy == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
    confusion = torch.zeros(10, 10, dtype=torch.int64)
    for truth, found in zip(labels, logits.argmax(1), strict=True):
        confusion[truth, found] += 1
    assert torch.tensor(run.classification.confusion).equal(confusion)


def test_two_trainings_have_the_same_losses_and_another_seed_has_others(data) -> None:
    first, second = (train(small_plan(data)) for _ in range(2))
    assert losses(first) == losses(second)
    assert losses(train(small_plan(data, seed=1, epochs=1)))[0] != losses(first)[0]


def test_the_clock_of_the_window_marks_every_epoch(data) -> None:
    window, clock = Window("cpu", None), CountingHostClock()
    window.clock = clock
    run = train(small_plan(data), window=window)
    assert clock.collected == len(run.epochs) == 2


def test_workers_change_no_loss(data) -> None:
    assert losses(train(small_plan(data, workers=1, epochs=1))) == losses(train(small_plan(data, epochs=1)))


class StopAfter:
    """Says stop after so many questions."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


DROPOUT = "walkthrough_cnn@image_size=8"
"""Has dropout: going on to the same bits needs its random state too."""


@pytest.mark.parametrize("stops", [2, 4, 7], ids=["early", "last-step", "second-epoch"])
def test_a_stopped_training_goes_on_to_the_same_bits(data, tmp_path, stops) -> None:
    plan = small_plan(data, model=DROPOUT)
    whole = train(plan)
    checkpoint = tmp_path / "training.ckpt"
    stopped = train(plan, checkpoint=checkpoint, is_stopped=StopAfter(stops))
    assert not stopped.is_complete and stopped.classification is None
    assert len(stopped.epochs) * 5 + stopped.steps_done == stops + 1
    resumed = train(plan, checkpoint=checkpoint)
    assert resumed.is_complete and resumed.resumptions == 1
    assert losses(resumed) == losses(whole)
    assert [e.test_loss for e in resumed.epochs] == [e.test_loss for e in whole.epochs]
    assert resumed.classification == whole.classification
    for epoch in resumed.epochs:
        assert sum(epoch.examples) == 72 and epoch.part_seconds(Part.FORWARD) > 0
    assert sum(e.interruptions for e in resumed.epochs) == 1


def test_a_checkpoint_of_another_plan_or_a_damaged_one_is_refused(data, tmp_path) -> None:
    checkpoint = tmp_path / "training.ckpt"
    train(small_plan(data, epochs=1), checkpoint=checkpoint)
    with pytest.raises(StoreError, match="of another plan"):
        train(small_plan(data, epochs=2), checkpoint=checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(StoreError, match="cannot be read"):
        train(small_plan(data, epochs=1), checkpoint=checkpoint)


def test_a_checkpoint_can_run_nothing(data, tmp_path) -> None:
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("the checkpoint was executed",))

    checkpoint = tmp_path / "training.ckpt"
    torch.save({"format": 1, "plan": Evil()}, checkpoint)
    with pytest.raises(StoreError, match="cannot be read"):
        train(small_plan(data, epochs=1), checkpoint=checkpoint)


def test_no_checkpoint_is_written_where_none_is_wanted(data, tmp_path) -> None:
    checkpoint = tmp_path / "training.ckpt"
    train(small_plan(data, epochs=1, checkpoint_steps=0), checkpoint=checkpoint)
    assert not checkpoint.exists()


def test_the_parts_sum_to_the_epoch(data, monkeypatch) -> None:
    """With a clock that ticks at every look: each mark is one look, and what surrounds them a few more."""
    from bench.measure import clock

    class Ticking:
        now = 0

        def perf_counter_ns(self) -> int:
            Ticking.now += 1_000_000
            return Ticking.now

        def perf_counter(self) -> float:
            return Ticking.now / 1e9  # the looks beside the marks take no time

    monkeypatch.setattr(clock, "time", Ticking())
    monkeypatch.setattr(training_module, "time", Ticking())
    run = train(small_plan(data, epochs=1))
    (epoch,) = run.epochs
    assert len(epoch.examples) == 5
    assert {part: len(seconds) for part, seconds in epoch.parts} == {
        part: 6 if part is Part.DATA else 5 for part in Part
    }
    assert epoch.part_sum_seconds == pytest.approx(36 * 1e-3)
    assert epoch.seconds == pytest.approx(37 * 1e-3)  # the first mark looks too
    assert epoch.gap_fraction == pytest.approx(1 / 37)
    assert AdviceKind.PHASE_GAP not in {advice.kind for advice in run.advice}


def test_learning_rate_and_weight_decay_reach_the_optimizer_that_is_named(data) -> None:
    own = small_plan(data, optimizer=None, learning_rate=None, weight_decay=None, epochs=1)
    same = replace(own, optimizer="sgd", learning_rate=1e-2)
    other = replace(own, optimizer="sgd", learning_rate=1e-3)
    assert losses(train(own)) == losses(train(same))  # mlp's own: SGD, lr 1e-2, momentum 0.9
    assert losses(train(own)) != losses(train(other))


def test_a_loss_that_is_not_finite_is_an_advice_with_its_place(data) -> None:
    run = train(small_plan(data, optimizer="sgd", learning_rate=1e30, epochs=1))
    (advice,) = [one for one in run.advice if one.kind is AdviceKind.NONFINITE_LOSS]
    step = dict(advice.facts)["step"]
    assert run.epochs[0].losses[step - 1] is None and None not in run.epochs[0].losses[: step - 1]
    assert run.epochs[0].train_loss is None and run.epochs[0].test_loss is None


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gru", "digits are one image of real numbers"),
        ("mlp@inputs=50", "digits are square images"),
        ("mlp@classes=5", "set its option, for example my_net@classes=10"),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_one_line(data, model, words) -> None:
    with pytest.raises(UsageError, match=words) as raised:
        train(small_plan(data, model=model))
    assert "\n" not in str(raised.value)


def test_the_time_to_an_accuracy_is_that_of_the_first_epoch_that_has_it(data) -> None:
    run = train(small_plan(data, epochs=2))
    first, second = run.epochs
    one = replace(run, epochs=(replace(first, test_accuracy=0.5), replace(second, test_accuracy=0.9)))
    assert one.seconds_to(0.5) == first.seconds + first.evaluation_seconds
    assert one.seconds_to(0.6) == pytest.approx(
        first.seconds + first.evaluation_seconds + second.seconds + second.evaluation_seconds
    )
    assert one.seconds_to(0.95) is None


def test_classes_are_scored_as_by_hand() -> None:
    evaluation = Evaluation(
        loss=1.0,
        accuracy=0.5,
        predictions=(0, 1, 1, 2, 2, 9),
        targets=(0, 0, 1, 2, 2, 2),
        seconds=1.0,
    )
    found = classify(evaluation, 3)
    assert found.confusion == ((1, 1, 0), (0, 1, 0), (0, 0, 2))
    assert found.outside == (0, 0, 1)  # the ninth output is no class
    zero, one, two = found.scores
    assert (zero.precision, zero.recall, zero.support) == (1.0, 0.5, 2)
    assert (one.precision, one.recall, one.f1) == (0.5, 1.0, pytest.approx(2 / 3))
    assert (two.precision, two.recall, two.support) == (1.0, pytest.approx(2 / 3), 3)


def test_what_is_a_share_of_nothing_is_missing_and_has_no_mean() -> None:
    evaluation = Evaluation(loss=1.0, accuracy=0.5, predictions=(0, 0), targets=(0, 1), seconds=1.0)
    found = classify(evaluation, 3)  # 1 is never predicted, 2 is not even there
    _, one, two = found.scores
    assert (one.precision, one.recall, one.f1) == (None, 0.0, 0.0)
    assert (two.precision, two.recall, two.f1) == (None, None, None)
    by_header = {column.heading: column.cells for column in score_columns(found)}
    assert by_header["precision %"] == ("50.0", "-", "-", "-")
