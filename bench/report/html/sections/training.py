"""Trainings: loss and accuracy over the steps, the split of each epoch's time, scores and confusion by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from bench.core.training import Epoch, Part, Training
from bench.core.units import format_seconds
from bench.report.html import bars
from bench.report.html.contract import ReportData, Section
from bench.report.html.lines import Chart, Point, Series, line_chart, linear
from bench.tables.advice import loose_advice_sentences
from bench.tables.document import Rows
from bench.tables.figures import first, name, words
from bench.tables.training import confusion_columns, epoch_columns, recipe, score_columns, sentences

_MOST_TRAININGS = 8
_MOST_POINTS = 150
_MOST_EPOCHS = 30
_COLORS = {part: index for index, part in enumerate(Part)}


def build(data: ReportData) -> Mapping[str, Any] | None:
    """Show each training of each run; other results have their own sections."""
    found = [training for run in data.runs for training in run.trainings]
    shown, note = first(found, _MOST_TRAININGS, "trainings")
    if not shown:
        return None
    return {
        "trainings": [_training(training) for training in shown],
        "legend": [{"name": part.value, "color": color, "dash": 0} for part, color in _COLORS.items()],
        "curves": [{"name": "test set", "color": 0, "dash": 0}, {"name": "training", "color": 1, "dash": 1}],
        "notes": [note] if note else [],
    }


SECTION = Section(anchor="training", title="Training", build=build)


def _training(training: Training) -> Mapping[str, Any]:
    run = training.run
    epochs = run.epochs if run else ()
    found = run.classification if run else None
    has_losses = any(loss is not None for epoch in epochs for loss in epoch.losses)
    return {
        "title": name(training.plan.model),
        "recipe": words(recipe(training)),
        "charts": [_losses(epochs), _accuracies(epochs)] if has_losses else [],
        "bars": _split(epochs) if epochs else None,
        "epochs": Rows(columns=epoch_columns(epochs), caption="Epochs") if epochs else None,
        "scores": Rows(columns=score_columns(found), caption="Scores by class", total=True) if found else None,
        "confusion": Rows(columns=confusion_columns(found), caption="Confusion by true class") if found else None,
        "sentences": [words(sentence) for sentence in sentences(training)],
        "doubts": [words(sentence) for _, sentence in loose_advice_sentences(run.advice)] if run else [],
    }


def _losses(epochs: Sequence[Epoch]) -> Chart:
    """Draw the loss of every step, or means of several if there are many; tests are at the ends of epochs."""
    steps = [loss for epoch in epochs for loss in epoch.losses]
    chunk = -(-len(steps) // _MOST_POINTS)
    trained = []
    for begin in range(0, len(steps), chunk):
        known = [loss for loss in steps[begin : begin + chunk] if loss is not None]
        if known:
            mean = sum(known) / len(known)
            trained.append(Point(x=begin + chunk, y=mean, text=f"step {begin + chunk:,}: training loss {mean:.4g}"))
    ends = accumulate(len(epoch.losses) for epoch in epochs)
    tested = [
        Point(x=end, y=epoch.test_loss, text=f"epoch {epoch.epoch}: test loss {epoch.test_loss:.4g}")
        for epoch, end in zip(epochs, ends, strict=True)
        if epoch.test_loss is not None
    ]
    series = [Series(name="training", points=tuple(trained), color=1, dash=1, has_marks=False), _tests(tested)]
    return _chart(series, "loss", "step")


def _accuracies(epochs: Sequence[Epoch]) -> Chart:
    trained, tested = (
        [
            Point(x=epoch.epoch, y=right * 100, text=f"epoch {epoch.epoch}: {right:.1%} {words}")
            for epoch in epochs
            if (right := getattr(epoch, field)) is not None
        ]
        for field, words in (("train_accuracy", "right in training"), ("test_accuracy", "of the test set right"))
    )
    return _chart(
        [Series(name="training", points=tuple(trained), color=1, dash=1), _tests(tested)], "right, %", "epoch"
    )


def _tests(points: Sequence[Point]) -> Series:
    return Series(name="test set", points=tuple(points), color=0)


def _chart(series: Sequence[Series], title: str, x_label: str) -> Chart:
    return line_chart(
        [one for one in series if one.points],
        title=title,
        label=f"{title} against {x_label}; the figures are in the table of epochs",
        x_label=x_label,
        y_label="",
        x=linear,
        y=linear,
    )


def _split(epochs: Sequence[Epoch]) -> bars.BarGroup:
    """Stack the parts of each epoch, in shares of its wall time; a line marks the whole."""
    return bars.bar_group(
        "Time of an epoch",
        [
            bars.Bar(
                names=(str(epoch.epoch),),
                parts=tuple(
                    bars.Part(
                        name=part.value,
                        color=color,
                        value=epoch.part_seconds(part) / epoch.seconds,
                        text=f"{epoch.part_seconds(part) / epoch.seconds * 100:.0f} %",
                    )
                    for part, color in _COLORS.items()
                ),
                figures=(format_seconds(epoch.seconds), f"{(epoch.gap_fraction or 0.0) * 100:+.1f} %"),
            )
            for epoch in epochs[:_MOST_EPOCHS]
            if epoch.seconds
        ],
        whole=1.0,
    )
