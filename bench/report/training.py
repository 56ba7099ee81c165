"""A training as text: how it learned epoch by epoch, where the time went, how it classifies. Prints nothing itself."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.record import Outcome
from bench.core.training import Classification, Epoch, Part, Training, TrainingPlan, TrainingRun
from bench.core.units import format_count, format_seconds
from bench.report.advice import loose_advice_sentences, loose_advice_text
from bench.report.columns import MISSING, figure_column, timed_columns, whole
from bench.report.figures import plain, significant
from bench.report.layout import Column, Page, render
from bench.report.markdown import escape, table

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


def training_markdown(training: Training) -> str:
    """Write the same as Markdown, for `tables/summary.md`."""
    parts = [f"# Training {escape(training.plan.model)}", escape(recipe(training))]
    run = training.run
    if run is not None and run.epochs:
        parts += ["## Epochs", table(epoch_columns(run.epochs))]
        parts += ["## Where the time went, percent", table(part_columns(run.epochs))]
    if run is not None and run.classification is not None:
        parts += ["## By class", table(score_columns(run.classification))]
        parts += ["## Confusion", "Rows are true classes.", table(confusion_columns(run.classification))]
    parts += ["## In words", "\n".join(f"- {escape(sentence)}" for sentence in sentences(training))]
    if run is not None and (doubts := loose_advice_sentences(run.advice)):
        parts += ["## Doubts", "\n".join(f"- **{mark}** {escape(sentence)}" for mark, sentence in doubts)]
    return "\n\n".join(parts) + "\n"


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
        Column(header="epoch", cells=tuple(str(e.epoch) for e in epochs), key=True),
        *figure_column("train loss", [e.train_loss for e in epochs], 0),
        *figure_column("train right %", [e.train_accuracy for e in epochs], 1, _percent),
        *figure_column("test loss", [e.test_loss for e in epochs], 0),
        *figure_column("test right %", [e.test_accuracy for e in epochs], 0, _percent),
        *timed_columns("training", [e.seconds for e in epochs], [None] * len(epochs)),
        *figure_column("examples /s", [e.examples_per_second for e in epochs], 0, format_count),
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
        Column(header="epoch", cells=tuple(name for _, name in rows), key=True),
        *(Column(header=header, cells=shares(part)) for part, header in PART_HEADERS.items()),
        Column(header="sum", cells=tuple(_share(s / t if t else None) for s, t in zip(sums, seconds, strict=True))),
        *timed_columns("sum of parts", sums, [None] * len(rows)),
        *timed_columns("epoch", seconds, [None] * len(rows)),
    ]


def score_columns(found: Classification) -> list[Column]:
    """Make the classification report: precision, recall and F1 by class, and their plain means.

    There is no mean where a class has no figure: without the class it would flatter the model.
    """
    scores = found.scores
    headers = {"precision": "precision %", "recall": "recall %", "f1": "F1 %"}
    figures = {name: [getattr(score, name) for score in scores] for name in headers}
    means = {name: None if None in values else sum(values) / len(values) for name, values in figures.items()}
    return [
        Column(header="class", cells=(*(plain(s.name) for s in scores), "mean"), right=False, key=True),
        *(
            Column(header=header, cells=tuple(_share(value) for value in (*figures[name], means[name])))
            for name, header in headers.items()
        ),
        Column(header="examples", cells=tuple(f"{n:,}" for n in (*(s.support for s in scores), _support(found)))),
    ]


def confusion_columns(found: Classification) -> list[Column]:
    """Make the confusion matrix: a row per true class, a column per predicted one; `.` is none."""
    names = [plain(score.name) for score in found.scores]
    columns = [
        Column(header=name, cells=tuple(str(row[index]) if row[index] else "." for row in found.confusion))
        for index, name in enumerate(names)
    ]
    if found.outside:
        columns.append(Column(header="other", cells=tuple(str(count or ".") for count in found.outside)))
    return [Column(header="true", cells=tuple(names), right=False, key=True), *columns]


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
