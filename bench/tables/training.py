"""A training as text: how it learned epoch by epoch, where the time went, how it classifies. Prints nothing itself.

Input pipelines as text: what the loader gives, what the step takes, what both reach, and who waits for whom.

The columns of `epochs` and `classes`, the tables of a training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.precision import Precision
from bench.core.record import Outcome
from bench.core.text import choices
from bench.core.training import (
    Classification,
    ClassScore,
    Epoch,
    Part,
    PipelinePoint,
    Training,
    TrainingPlan,
    TrainingRun,
)
from bench.core.units import format_count, format_seconds
from bench.tables.advice import loose_advice_text
from bench.tables.cells import MISSING, figure_column, timed_columns, whole
from bench.tables.figures import percent, plain, significant
from bench.tables.table import Column, Page, TableColumn, render

PART_HEADERS = {
    Part.DATA: "data",
    Part.COPY: "copy",
    Part.FORWARD: "fwd",
    Part.LOSS: "loss",
    Part.BACKWARD: "bwd",
    Part.OPTIMIZER: "opt",
    Part.OTHER: "other",
}


def training_text(training: Training, width: int = 80, color: bool = False, unicode: bool = True) -> str:
    """Write a training for a terminal: epochs, split of the time, scores by class, confusion, doubts in words."""
    page = Page(width=width, color=color, unicode=unicode)
    parts = [page.paint(page.wrap(recipe(training)), "dim")]
    run = training.run
    if run is not None and run.epochs:
        parts += ["", render(epoch_columns(run.epochs), page)]
        parts += ["", page.wrap("Where the time went, in percent of the epoch:"), ""]
        parts.append(render(part_columns(run.epochs), page, total=len(run.epochs) > 1))
    if run is not None and run.classification is not None:
        parts += ["", page.wrap("On the test set, by class; rows of the matrix are true classes:"), ""]
        parts.append(render(score_columns(run.classification), page, total=True))
        parts += ["", render(confusion_columns(run.classification), page)]
    parts += ["", *(page.wrap(sentence) for sentence in sentences(training))]
    if run is not None and (doubts := loose_advice_text(run.advice, page)):
        parts += ["", doubts]
    return "\n".join(parts)


def recipe(training: Training) -> str:
    """Say what was trained, on what and how, in one paragraph."""
    plan, run = training.plan, training.run
    data = plain(plan.data)
    if run is not None:
        facts = run.data
        shape = "x".join(map(str, facts.input_shape))
        sizes = f"{facts.train_examples:,} to train, {facts.test_examples:,} to test"
        data = f"{plain(facts.name)}: {sizes}, inputs {shape}"
    size = f" ({format_count(run.parameters)} parameters)" if run is not None else ""
    return f"{plain(plan.model)}{size} on {data}; {plan_text(plan)}"


def plan_text(plan: TrainingPlan, *, is_axis: bool = False) -> str:
    """Say how a plan trains; batch size and workers are left out where they are axes."""
    words = [] if is_axis else [f"batch {plan.batch_size}", f"{plan.workers} worker{'' if plan.workers == 1 else 's'}"]
    words.append(plan.optimizer or "the model's own optimizer")
    words += [f"lr {plan.learning_rate:g}"] if plan.learning_rate is not None else []
    words += [f"weight decay {plan.weight_decay:g}"] if plan.weight_decay is not None else []
    words += [plan.device, plan.precision.value, f"seed {plan.seed}"]
    return ", ".join(words)


def epoch_columns(epochs: Sequence[Epoch]) -> list[Column]:
    """Make the columns of what was learned and how long it took."""
    return [
        Column(name="epoch", cells=tuple(str(e.epoch) for e in epochs), key=True),
        *figure_column("train loss", [e.train_loss for e in epochs], 0),
        *figure_column("train right", [e.train_accuracy for e in epochs], 1, _percent, unit="%"),
        *figure_column("test loss", [e.test_loss for e in epochs], 0),
        *figure_column("test right", [e.test_accuracy for e in epochs], 0, _percent, unit="%"),
        *timed_columns("training", [e.seconds for e in epochs], [None] * len(epochs)),
        *figure_column("examples", [e.examples_per_second for e in epochs], 0, format_count, unit="/s"),
        *timed_columns("evaluation", [e.evaluation_seconds for e in epochs], [None] * len(epochs), 2),
        *timed_columns("checkpoints", [e.checkpoint_seconds or None for e in epochs], [None] * len(epochs), 3),
        *figure_column("steps", [len(e.examples) for e in epochs], 4, whole),
    ]


def part_columns(epochs: Sequence[Epoch]) -> list[Column]:
    """Make the columns of each part's share of its epoch; with several epochs, a last row for all of them."""
    rows = [([epoch], str(epoch.epoch)) for epoch in epochs]
    if len(rows) > 1:
        rows.append((list(epochs), "all"))
    seconds = [sum(e.seconds for e in row) for row, _ in rows]

    def shares(part: Part) -> tuple[str, ...]:
        return tuple(
            _share(sum(e.part_seconds(part) for e in row) / total if total else None)
            for (row, _), total in zip(rows, seconds, strict=True)
        )

    sums = [sum(e.part_sum_seconds for e in row) for row, _ in rows]
    return [
        Column(name="epoch", cells=tuple(name for _, name in rows), key=True),
        *(Column(name=header, cells=shares(part)) for part, header in PART_HEADERS.items()),
        Column(name="sum", cells=tuple(_share(s / t if t else None) for s, t in zip(sums, seconds, strict=True))),
        *timed_columns("sum of parts", sums, [None] * len(rows)),
        *timed_columns("epoch", seconds, [None] * len(rows)),
    ]


def score_columns(found: Classification) -> list[Column]:
    """Make the classification report: precision, recall and F1 by class, and their plain means.

    There is no mean where a class has no figure: without the class it would flatter the model.
    """
    scores = found.scores
    headers = {"precision": "precision", "recall": "recall", "f1": "F1"}
    figures = {name: [getattr(score, name) for score in scores] for name in headers}
    means = {name: None if None in values else sum(values) / len(values) for name, values in figures.items()}
    return [
        Column(name="class", cells=(*(plain(s.name) for s in scores), "mean"), right=False, key=True),
        *(
            Column(name=header, unit="%", cells=tuple(_share(value) for value in (*figures[name], means[name])))
            for name, header in headers.items()
        ),
        Column(name="examples", cells=tuple(f"{n:,}" for n in (*(s.support for s in scores), _support(found)))),
    ]


def confusion_columns(found: Classification) -> list[Column]:
    """Make the confusion matrix: a row per true class, a column per predicted one; `.` is none."""
    names = [plain(score.name) for score in found.scores]
    columns = [
        Column(name=name, cells=tuple(str(row[index]) if row[index] else "." for row in found.confusion))
        for index, name in enumerate(names)
    ]
    if found.outside:
        columns.append(Column(name="other", cells=tuple(str(count or ".") for count in found.outside)))
    return [Column(name="true", cells=tuple(names), right=False, key=True), *columns]


def sentences(training: Training) -> list[str]:
    """Say in words how it ended, how well it classifies, when the target was reached."""
    run, plan = training.run, training.plan
    found = []
    if training.outcome is not Outcome.OK:
        name = training.outcome.value.replace("_", " ").upper()
        found.append(f"{name}: {plain(training.reason or MISSING)}")
    if run is None or not run.epochs:
        return found
    last = run.epochs[-1]
    trained, evaluated = (sum(e.seconds for e in run.epochs), sum(e.evaluation_seconds or 0.0 for e in run.epochs))
    saved = sum(e.checkpoint_seconds for e in run.epochs)
    loss = MISSING if last.test_loss is None else significant(last.test_loss)
    found.append(
        f"After epoch {last.epoch} of {plan.epochs}: {_percent(last.test_accuracy or 0.0)} % of the test set right, "
        f"loss {loss}; {format_seconds(trained)} of training, {format_seconds(evaluated)} of evaluation, "
        f"{format_seconds(saved)} of checkpoints."
    )
    if plan.target_accuracy is not None:
        found.append(_target(run, plan.target_accuracy))
    if run.resumptions:
        found.append(f"Taken up from a checkpoint {run.resumptions} time{'' if run.resumptions == 1 else 's'}.")
    return found


def _target(run: TrainingRun, accuracy: float) -> str:
    seconds = run.seconds_to(accuracy)
    if seconds is None:
        return f"The target of {_percent(accuracy)} % was not reached."
    epoch = next(e.epoch for e in run.epochs if (e.test_accuracy or 0.0) >= accuracy)
    return (
        f"The target of {_percent(accuracy)} % was reached with epoch {epoch}, after {format_seconds(seconds)} of "
        "training and evaluation."
    )


def _support(found: Classification) -> int:
    return sum(score.support for score in found.scores)


def _percent(fraction: float) -> str:
    return f"{fraction * 100:.1f}"


def _share(fraction: float | None) -> str:
    return MISSING if fraction is None else f"{fraction * 100:.1f}"


def pipeline_text(points: Sequence[PipelinePoint], width: int = 80, color: bool = False, unicode: bool = True) -> str:
    """Write one row per combination; below it who waits, with figures."""
    page = Page(width=width, color=color, unicode=unicode)
    spans = {
        row: f"{point.outcome.value.replace('_', ' ').upper()}: {plain(point.reason or '')}"
        for row, point in enumerate(points)
        if point.outcome is not Outcome.OK
    }
    first = points[0].plan
    parts = [
        page.paint(page.wrap(f"{plain(first.model)} on {plain(first.data)}: {plan_text(first, is_axis=True)}"), "dim")
    ]
    parts += ["", page.wrap("Examples per second of the loader alone, the step alone, and both together:"), ""]
    parts.append(render(pipeline_columns(points), page, spans=spans))
    measured = [point for point in points if point.outcome is Outcome.OK]
    parts += ["", *(page.wrap(sentence, "  ") for sentence in map(_sentence, measured))]
    if doubts := loose_advice_text([advice for point in points for advice in point.advice], page):
        parts += ["", doubts]
    return "\n".join(parts)


def pipeline_columns(points: Sequence[PipelinePoint]) -> list[Column]:
    """Make the columns: the axes, three throughputs, the share of waiting, the loader's start."""
    plans = [point.plan for point in points]
    pins = tuple("on" if plan.pin_memory else "off" for plan in plans)
    return [
        Column(name="batch", cells=tuple(str(plan.batch_size) for plan in plans), key=True),
        Column(name="workers", cells=tuple(str(plan.workers) for plan in plans), key=True),
        Column(name="prefetch", cells=tuple(str(plan.prefetch or "-") for plan in plans), key=True),
        *([Column(name="pinned", cells=pins, right=False, key=True)] if len(set(pins)) > 1 else []),
        *figure_column("loader", [p.data_examples_per_second for p in points], 0, format_count, unit="/s"),
        *figure_column("step", [p.step_examples_per_second for p in points], 0, format_count, unit="/s"),
        *figure_column("both", [p.joint_examples_per_second for p in points], 0, format_count, unit="/s"),
        *figure_column("waiting", [p.wait_fraction for p in points], 0, percent, unit="%"),
        *timed_columns("first batch", [p.start_seconds for p in points], [None] * len(points), 1),
    ]


def point_name(point: PipelinePoint) -> str:
    """Name a combination: `batch 64, 2 workers, prefetch 2`."""
    plan = point.plan
    words = [f"batch {plan.batch_size}", f"{plan.workers} worker{'' if plan.workers == 1 else 's'}"]
    words += [f"prefetch {plan.prefetch}"] if plan.prefetch else []
    return ", ".join([*words, *(["pinned"] if plan.pin_memory else [])])


def _sentence(point: PipelinePoint) -> str:
    """Say what both reach of what the slower one can."""
    loader, step, both = (
        point.data_examples_per_second,
        point.step_examples_per_second,
        point.joint_examples_per_second,
    )
    if not loader or not step or not both:
        return f"{point_name(point)}: not measured"
    slower = "loader" if loader < step else "step"
    wait = sum(point.wait_seconds) / len(point.wait_seconds)
    return (
        f"{point_name(point)}: the {slower} is the slower one, and both together reach "
        f"{both / min(loader, step) * 100:.0f} % of it; a step waits {format_seconds(wait)} for its batch."
    )


@dataclass(frozen=True, slots=True)
class EpochRow:
    """What one row of `epochs` is read from."""

    training: Training
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class ClassRow:
    """What one row of `classes` is read from."""

    training: Training
    score: ClassScore


def epoch_rows(trainings: tuple[Training, ...]) -> list[EpochRow]:
    """Make one row per training and finished epoch."""
    return [EpochRow(training, epoch) for training in trainings if training.run for epoch in training.run.epochs]


def class_rows(trainings: tuple[Training, ...]) -> list[ClassRow]:
    """Make one row per training and class of the data."""
    return [
        ClassRow(training, score)
        for training in trainings
        if training.run and training.run.classification
        for score in training.run.classification.scores
    ]


def _plan(name: str) -> Callable[[Any], Any]:
    return lambda row: getattr(row.training.plan, name)


def _part(part: Part) -> Callable[[EpochRow], float]:
    return lambda row: row.epoch.part_seconds(part)


def _epoch(name: str) -> Callable[[EpochRow], Any]:
    return lambda row: getattr(row.epoch, name)


def _score(name: str) -> Callable[[ClassRow], Any]:
    return lambda row: getattr(row.score, name)


_WHICH = (
    TableColumn(
        "training_key", "string", "", "the training's key: the name of its file", lambda r: r.training.plan.key
    ),
    TableColumn("model", "string", "", "model spec as typed", _plan("model")),
    TableColumn("data", "string", "", "data as typed", _plan("data")),
)
_PART_MEANINGS = {
    Part.DATA: "waiting for batches, the start of the loader's workers included",
    Part.COPY: "copying batches to the device",
    Part.FORWARD: "forward phase",
    Part.LOSS: "loss phase",
    Part.BACKWARD: "backward phase",
    Part.OPTIMIZER: "optimizer phase, dropping the gradients included",
    Part.OTHER: "metrics, progress, Python between steps",
}

EPOCHS = (
    *_WHICH,
    TableColumn("batch_size", "Int64", "examples", "examples per step", _plan("batch_size")),
    TableColumn("workers", "Int64", "processes", "that prepare batches; 0 is the training process", _plan("workers")),
    TableColumn("device", "string", "", "`cpu` or `cuda:N`", _plan("device")),
    TableColumn("precision", "string", "", choices(Precision), _plan("precision")),
    TableColumn("seed", "Int64", "", "seed of weights, order, augmentation and dropout", _plan("seed")),
    TableColumn("epoch", "Int64", "", "from 1", lambda r: r.epoch.epoch),
    TableColumn("steps", "Int64", "steps", "training steps", lambda r: len(r.epoch.examples)),
    TableColumn("examples", "Int64", "examples", "examples trained on", lambda r: sum(r.epoch.examples)),
    TableColumn(
        "train_loss", "Float64", "nats", "mean, each as its step came, in train mode", lambda r: r.epoch.train_loss
    ),
    TableColumn(
        "train_accuracy_fraction", "Float64", "fraction", "likewise, share that was right", _epoch("train_accuracy")
    ),
    TableColumn("test_loss", "Float64", "nats", "mean over the test set after the epoch", _epoch("test_loss")),
    TableColumn(
        "test_accuracy_fraction", "Float64", "fraction", "share of the test set that is right", _epoch("test_accuracy")
    ),
    TableColumn("train_seconds", "Float64", "s", "wall time of the epoch's training", _epoch("seconds")),
    *(
        TableColumn(f"{part.value}_seconds", "Float64", "s", meaning, _part(part))
        for part, meaning in _PART_MEANINGS.items()
    ),
    TableColumn("part_sum_seconds", "Float64", "s", "sum of these parts", _epoch("part_sum_seconds")),
    TableColumn("gap_fraction", "Float64", "fraction", "1 - sum of parts / wall time", _epoch("gap_fraction")),
    TableColumn("examples_per_second", "Float64", "examples/s", "training throughput", _epoch("examples_per_second")),
    TableColumn("evaluation_seconds", "Float64", "s", "wall time of the evaluation", _epoch("evaluation_seconds")),
    TableColumn("checkpoint_seconds", "Float64", "s", "writing checkpoints", _epoch("checkpoint_seconds")),
    TableColumn("clock", "string", "", "of the parts: `host` or `device` (events)", _epoch("clock")),
    TableColumn("interruptions", "Int64", "", "times it was taken up within the epoch", _epoch("interruptions")),
)

CLASSES = (
    *_WHICH,
    TableColumn("class", "string", "", "true class", lambda r: r.score.name),
    TableColumn(
        "precision",
        "Float64",
        "fraction",
        "right share of the predictions of this class, if any",
        _score("precision"),
    ),
    TableColumn("recall", "Float64", "fraction", "of this class's examples, share that is found", _score("recall")),
    TableColumn("f1", "Float64", "fraction", "harmonic mean of precision and recall", _score("f1")),
    TableColumn("support", "Int64", "examples", "test examples of this class", _score("support")),
)
