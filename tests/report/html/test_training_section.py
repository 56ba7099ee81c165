from __future__ import annotations

from dataclasses import replace

from bench.report.html.contract import make_data
from bench.report.html.page import render
from bench.report.html.sections import training
from tests.stored_runs import make_run
from tests.trainings import make_epoch, make_training


def page(*trainings) -> str:
    return render(make_data([make_run(id="one", trainings=trainings)]), sections=(training.SECTION,))


def test_a_training_has_curves_a_split_and_its_classes() -> None:
    text = page(make_training())
    for part in ("my_net@classes=10", "Time of an epoch", "test loss 0.3", "85.0% of the test set right", "Confusion"):
        assert part in text
    assert text.count("<figure") == 2


def test_a_run_without_trainings_has_no_such_section() -> None:
    assert training.build(make_data([make_run(id="one")])) is None


def test_a_training_without_anything_still_says_why() -> None:
    text = page(replace(make_training(), run=None, reason="the worker was killed by SIGKILL"))
    assert "<h3>my_net@classes=10</h3>" in text


def test_many_steps_are_drawn_as_means() -> None:
    epoch = make_epoch(examples=(1,) * 1000, losses=(None, *[1.0] * 999), correct=(1,) * 1000)
    one = make_training()
    built = training.build(
        make_data([make_run(id="one", trainings=(replace(one, run=replace(one.run, epochs=(epoch,))),))])
    )
    assert built is not None
    losses = built["trainings"][0]["charts"][0]
    assert 100 < losses.series[0].path.count("L") + 1 <= 150


def test_names_from_outside_are_escaped() -> None:
    plan = replace(make_training().plan, model="<script>alert(1)</script>")
    assert "<script>alert" not in page(replace(make_training(), plan=plan))
