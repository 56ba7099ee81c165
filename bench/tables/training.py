"""A training as text: loss and accuracy per epoch, where the time went, how it classifies.

Also an input pipeline as text (throughput of the loader, of the step and of both, and who waits), and the columns of
`epochs` and `classes`, the tables of a training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.core.record import Outcome
from bench.core.training import (
    Classification,
    ClassScore,
    Epoch,
    Part,
    PipelinePoint,
    Training,
    TrainingPlan,
)
from bench.core.units import counted, format_count, format_seconds
from bench.stats.summary import NONSENSE_GAP
from bench.suite.axes import AXES
from bench.tables.columns import (
    MISSING,
    Shown,
    figure_column,
    integer,
    real,
    shown_columns,
    text,
    timed_columns,
    whole,
)
from bench.tables.document import Block, Document, Notes, Rows, Text, doubts_of
from bench.tables.figures import percent, plain, significant
from bench.tables.table import Column

PART_HEADERS = {
    Part.DATA: "data",
    Part.COPY: "copy",
    Part.FORWARD: "fwd",
    Part.LOSS: "loss",
    Part.BACKWARD: "bwd",
    Part.OPTIMIZER: "opt",
    Part.OTHER: "other",
}


def training_document(training: Training) -> Document:
    """Describe a training: epochs, split of the time, scores by class, confusion, sentences, doubts."""
    run = training.run
    blocks: list[Block] = [Text(text=recipe(training), style="dim")]
    if run is not None and run.epochs:
        blocks += [
            Rows(columns=epoch_columns(run.epochs), caption="Epochs"),
            Text(text="Where the time went, in percent of the epoch:"),
            Rows(columns=part_columns(run.epochs), total=len(run.epochs) > 1),
        ]
    if run is not None and run.classification is not None:
        blocks += [
            Text(text="On the test set, by class; rows of the matrix are true classes:"),
            Rows(columns=score_columns(run.classification), caption="Scores by class", total=True),
            Rows(columns=confusion_columns(run.classification), caption="Confusion by true class"),
        ]
    blocks += [Notes(lines=sentences(training), first="", indent="")]
    return [*blocks, *([doubts_of(run.advice)] if run is not None else [])]


def recipe(training: Training) -> str:
    """Describe the model, the data and the plan in one paragraph."""
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
    """Describe the settings of a plan; batch size and workers are left out if they are axes."""
    words = [] if is_axis else [f"batch {plan.batch_size}", counted(plan.workers, "worker")]
    words.append(plan.optimizer or "the model's own optimizer")
    words += [f"lr {plan.learning_rate:g}"] if plan.learning_rate is not None else []
    words += [f"weight decay {plan.weight_decay:g}"] if plan.weight_decay is not None else []
    words += [plan.device, plan.precision.value, f"seed {plan.seed}"]
    return ", ".join(words)


def epoch_columns(epochs: Sequence[Epoch]) -> list[Column]:
    """Make the columns of loss, accuracy and time per epoch."""
    return shown_columns(EPOCHS, [EpochRow(None, epoch) for epoch in epochs])


def part_columns(epochs: Sequence[Epoch]) -> list[Column]:
    """Make the columns of each part's share of its epoch; with several epochs, a last row for all of them."""
    rows = [([epoch], str(epoch.epoch)) for epoch in epochs]
    if len(rows) > 1:
        rows.append((list(epochs), "all"))
    seconds = [sum(e.seconds for e in row) for row, _ in rows]
    sums = [sum(e.part_sum_seconds for e in row) for row, _ in rows]
    adding_up = [t > 0 and abs(1 - s / t) <= NONSENSE_GAP for s, t in zip(sums, seconds, strict=True)]

    def shares(part: Part) -> tuple[str, ...]:
        return tuple(
            _share(sum(e.part_seconds(part) for e in row) / total if add_up else None)
            for (row, _), total, add_up in zip(rows, seconds, adding_up, strict=True)
        )

    return [
        Column(name="epoch", cells=tuple(name for _, name in rows), key=True),
        *(Column(name=header, cells=shares(part)) for part, header in PART_HEADERS.items()),
        Column(name="sum", cells=tuple(_share(s / t if t else None) for s, t in zip(sums, seconds, strict=True))),
        *timed_columns("sum of parts", sums),
        *timed_columns("epoch", seconds),
    ]


def score_columns(found: Classification) -> list[Column]:
    """Make the classification report: precision, recall and F1 by class, and their plain means.

    If a class has no figure, there is no mean: without that class it would flatter the model.
    """
    scores = [
        *found.scores,
        ClassScore(name="mean", support=sum(score.support for score in found.scores), **_means(found)),
    ]
    return shown_columns(CLASSES, [ClassRow(None, score) for score in scores])


def _means(found: Classification) -> dict[str, Any]:
    values = {name: [getattr(score, name) for score in found.scores] for name in _SCORES}
    return {name: None if None in of_all else sum(of_all) / len(of_all) for name, of_all in values.items()}


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
    """Describe how it ended, how well it classifies, when the target was reached."""
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
        target, seconds = f"The target of {_percent(plan.target_accuracy)} %", run.seconds_to(plan.target_accuracy)
        if seconds is None:
            found.append(f"{target} was not reached.")
        else:
            epoch = next(e.epoch for e in run.epochs if (e.test_accuracy or 0.0) >= plan.target_accuracy)
            after = f"after {format_seconds(seconds)} of training and evaluation"
            found.append(f"{target} was reached with epoch {epoch}, {after}.")
    if run.resumptions:
        found.append(f"Resumed from a checkpoint {counted(run.resumptions, 'time')}.")
    return found


def _percent(fraction: float) -> str:
    return f"{fraction * 100:.1f}"


def _share(fraction: float | None) -> str:
    return MISSING if fraction is None else f"{fraction * 100:.1f}"


def pipeline_document(points: Sequence[PipelinePoint]) -> Document:
    """Make one row per combination; below the table, which of both waits and how long."""
    spans = {
        row: f"{point.outcome.value.replace('_', ' ').upper()}: {plain(point.reason or '')}"
        for row, point in enumerate(points)
        if point.outcome is not Outcome.OK
    }
    first = points[0].plan
    measured = [point for point in points if point.outcome is Outcome.OK]
    return [
        Text(text=f"{plain(first.model)} on {plain(first.data)}: {plan_text(first, is_axis=True)}", style="dim"),
        Text(text="Examples per second of the loader alone, the step alone, and both together:"),
        Rows(columns=pipeline_columns(points), spans=spans),
        Notes(lines=[_sentence(point) for point in measured], first="  ", indent="  "),
        doubts_of([advice for point in points for advice in point.advice]),
    ]


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
        *timed_columns("first batch", [p.start_seconds for p in points], rank=1),
    ]


def plan_name(plan: TrainingPlan) -> str:
    """Name the combination that a plan asks for: `batch 64, 2 workers, prefetch 2`."""
    words = [f"batch {plan.batch_size}", counted(plan.workers, "worker")]
    words += [f"prefetch {plan.prefetch}"] if plan.prefetch else []
    return ", ".join([*words, *(["pinned"] if plan.pin_memory else [])])


def _sentence(point: PipelinePoint) -> str:
    """Compare both together with the slower of the two."""
    loader, step, both = (
        point.data_examples_per_second,
        point.step_examples_per_second,
        point.joint_examples_per_second,
    )
    if not loader or not step or not both:
        return f"{plan_name(point.plan)}: not measured"
    slower = "loader" if loader < step else "step"
    wait = sum(point.wait_seconds) / len(point.wait_seconds)
    return (
        f"{plan_name(point.plan)}: the {slower} is the slower one, and both together reach "
        f"{both / min(loader, step) * 100:.0f} % of it; a step waits {format_seconds(wait)} for its batch."
    )


@dataclass(frozen=True, slots=True)
class EpochRow:
    """The source of one row of `epochs`."""

    training: Training | None
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class ClassRow:
    """The source of one row of `classes`."""

    training: Training | None
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


def _part(part: Part) -> Callable[[EpochRow], float]:
    return lambda row: row.epoch.part_seconds(part)


_WHICH = (
    text("training_key", "the training's key: the name of its file", "training.plan.key"),
    text("model", "model spec as typed", "training.plan.model"),
    text("data", "data as typed", "training.plan.data"),
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
    integer("batch_size", "examples", "examples per step", "training.plan.batch_size"),
    integer(
        "workers", "processes", "processes that prepare batches; 0 is the training process", "training.plan.workers"
    ),
    text("device", "`cpu` or `cuda:N`", "training.plan.device"),
    text("precision", AXES["precision"].fill("{choices}", "`"), "training.plan.precision"),
    integer("seed", "", "seed of weights, order, augmentation and dropout", "training.plan.seed"),
    integer(
        "epoch", "", "number of the epoch, from 1", "epoch.epoch", Shown(name="epoch", place=1, write=str, key=True)
    ),
    integer(
        "steps",
        "steps",
        "training steps",
        lambda r: len(r.epoch.examples),
        Shown(name="steps", place=10, rank=4, write=whole),
    ),
    integer("examples", "examples", "examples trained on", lambda r: sum(r.epoch.examples)),
    real(
        "train_loss",
        "nats",
        "mean over the steps, each before its update, in train mode",
        "epoch.train_loss",
        Shown(name="train loss", place=2),
    ),
    real(
        "train_accuracy_fraction",
        "fraction",
        "share of examples that were right, in train mode",
        "epoch.train_accuracy",
        Shown(name="train right", unit="%", place=3, rank=1, write=_percent),
    ),
    real(
        "test_loss",
        "nats",
        "mean over the test set after the epoch",
        "epoch.test_loss",
        Shown(name="test loss", place=4),
    ),
    real(
        "test_accuracy_fraction",
        "fraction",
        "share of the test set that is right",
        "epoch.test_accuracy",
        Shown(name="test right", unit="%", place=5, write=_percent),
    ),
    real(
        "train_seconds",
        "s",
        "wall time of the epoch's training",
        "epoch.seconds",
        Shown(name="training", place=6, scale="s", always=True),
    ),
    *(real(f"{part.value}_seconds", "s", meaning, _part(part)) for part, meaning in _PART_MEANINGS.items()),
    real("part_sum_seconds", "s", "sum of these parts", "epoch.part_sum_seconds"),
    real("gap_fraction", "fraction", "1 - sum of parts / wall time", "epoch.gap_fraction"),
    real(
        "examples_per_second",
        "examples/s",
        "training throughput",
        "epoch.examples_per_second",
        Shown(name="examples", unit="/s", place=7, write=format_count),
    ),
    real(
        "evaluation_seconds",
        "s",
        "wall time of the evaluation",
        "epoch.evaluation_seconds",
        Shown(name="evaluation", place=8, rank=2, scale="s", always=True),
    ),
    real(
        "checkpoint_seconds",
        "s",
        "writing checkpoints",
        "epoch.checkpoint_seconds",
        Shown(
            name="checkpoints",
            place=9,
            rank=3,
            scale="s",
            get=lambda r: r.epoch.checkpoint_seconds or None,
            always=True,
        ),
    ),
    text("clock", "clock of the parts: `host` or `device` (events)", "epoch.clock"),
    integer("interruptions", "", "how often it was resumed within the epoch", "epoch.interruptions"),
)

_SCORES = {
    "precision": ("precision", "share of the predictions of this class that are right, if any"),
    "recall": ("recall", "share of this class's examples that are found"),
    "f1": ("F1", "harmonic mean of precision and recall"),
}
CLASSES = (
    *_WHICH,
    text("class", "true class", "score.name", Shown(name="class", place=1, right=False, key=True)),
    *(
        real(
            name,
            "fraction",
            meaning,
            f"score.{name}",
            Shown(name=header, unit="%", place=place, write=_percent, always=True),
        )
        for place, (name, (header, meaning)) in enumerate(_SCORES.items(), 2)
    ),
    integer(
        "support",
        "examples",
        "test examples of this class",
        "score.support",
        Shown(name="examples", place=5, write=whole),
    ),
)
