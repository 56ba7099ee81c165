"""A whole training as a measured workload: what was asked, what came out per epoch, how well it classifies at last.

An input pipeline beside the step it feeds: each alone, and both together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from bench.core.advice import Advice
from bench.core.cell import Cell, Precision, short_hash
from bench.core.environment import Environment, MachineState
from bench.core.jsonio import to_json
from bench.core.record import Outcome

TRAINING_SCHEMA = 1
"""Version of the files `training/<key>.json`. History: 1 (2026-11-23) first."""


class Part(StrEnum):
    """A part of an epoch; one mark ends it and begins the next, so the parts follow without a gap."""

    DATA = "data"  # waiting for the next batch, the start of the loader's workers included
    COPY = "copy"  # host to device
    FORWARD = "forward"
    LOSS = "loss"
    BACKWARD = "backward"
    OPTIMIZER = "optimizer"  # with dropping the gradients, as in a cell
    OTHER = "other"  # metrics, progress, Python between steps


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """What to train, on what, how; the defaults are the seed page's recipe.

    Attributes:
        model: A model spec, as in `Cell`.
        data: `synthetic`, or `mnist` with the folder that holds `MNIST/raw`: `mnist:ROOT`.
        input_shape: Shape of one example, for a bare `nn.Module`.
        workers: Processes that prepare batches; 0 prepares them in the training process.
        prefetch: Batches that each worker prepares ahead; None is torch's default.
        optimizer: Optimizer as in `Cell`; None is the workload's own.
        learning_rate: None is the workload's own, or 1e-3 of an optimizer chosen by name.
        weight_decay: None is that optimizer's own.
        target_accuracy: Accuracy to reach on the test set, a fraction; the time to reach it is reported.
        limit_examples: Only the first so many of each set; None is all.
        checkpoint_steps: Write a checkpoint every so many steps besides every epoch; 0 never writes one.
        seed: Seed of the weights, the order of the data, its augmentation and dropout.
    """

    model: str
    data: str = "synthetic"
    input_shape: tuple[int, ...] | None = None
    epochs: int = 5
    batch_size: int = 64
    test_batch_size: int = 256
    workers: int = 0
    prefetch: int | None = None
    pin_memory: bool = False
    device: str = "cpu"
    precision: Precision = Precision.FP32
    optimizer: str | None = "adam"
    learning_rate: float | None = 1e-3
    weight_decay: float | None = 1e-4
    threads: int | None = None
    seed: int = 0
    target_accuracy: float | None = None
    limit_examples: int | None = None
    checkpoint_steps: int | None = None

    @property
    def cell(self) -> Cell:
        """The cell whose step this training repeats."""
        names = ("model", "batch_size", "device", "precision", "optimizer", "input_shape", "threads", "seed")
        return Cell(**{name: getattr(self, name) for name in names})

    @property
    def key(self) -> str:
        """Name the plan for machines, as `Cell.key` does: fields at their default are left out."""
        return short_hash({f.name: to_json(getattr(self, f.name)) for f in fields(self) if not self._is_default(f)})

    def _is_default(self, field: Any) -> bool:
        return bool(getattr(self, field.name) == field.default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass over the training set, and the evaluation after it.

    Attributes:
        epoch: Number of the epoch, from 1.
        examples: Examples of each step, in order.
        losses: Losses of each step, before its update, in train mode; None where it is not finite.
        correct: Examples of each step whose largest output was the right class, in train mode.
        seconds: Wall time of the epoch's training on the host: from before the loader is asked for its first batch
            until the device has done the last step and the metrics are read; no checkpoints, no evaluation.
        parts: Raw seconds of each part, one per step; DATA has one more, the loader's end.
        clock: Clock of the parts: `host`, or `device` (events on its stream: what the device waited or worked).
        test_loss: Mean over the test set after the epoch, without gradients; None where it is not finite.
        evaluation_seconds: Duration of the whole evaluation, its data included.
        checkpoint_seconds: Duration of all checkpoints written during and after the epoch.
        interruptions: How often the epoch was resumed from a checkpoint within it.
    """

    epoch: int
    examples: tuple[int, ...]
    losses: tuple[float | None, ...]
    correct: tuple[int, ...]
    seconds: float
    parts: tuple[tuple[Part, tuple[float, ...]], ...]
    clock: str = "host"
    test_loss: float | None = None
    test_accuracy: float | None = None
    evaluation_seconds: float | None = None
    checkpoint_seconds: float = 0.0
    interruptions: int = 0

    def __post_init__(self) -> None:
        """Refuse figures that are not of the same steps.

        Raises:
            ValueError: Their numbers differ, or a step has no example.
        """
        if not len(self.examples) == len(self.losses) == len(self.correct) or min(self.examples, default=1) < 1:
            raise ValueError("Epoch: its examples, losses and correct answers are not of the same steps")

    @property
    def train_loss(self) -> float | None:
        """Mean loss of the examples, each as it was when its step came; None where one is not finite."""
        if not self.losses or None in self.losses:
            return None
        pairs = zip(self.losses, self.examples, strict=True)
        return sum((loss or 0.0) * count for loss, count in pairs) / sum(self.examples)

    @property
    def train_accuracy(self) -> float | None:
        """Share of the examples that were right when their step came; lower than afterwards, and with dropout."""
        return sum(self.correct) / sum(self.examples) if self.examples else None

    @property
    def examples_per_second(self) -> float | None:
        """Training throughput of the whole epoch."""
        return sum(self.examples) / self.seconds if self.seconds else None

    def part_seconds(self, part: Part) -> float:
        """Sum one part over the steps."""
        return sum(sum(seconds) for name, seconds in self.parts if name is part)

    @property
    def part_sum_seconds(self) -> float:
        """Sum all parts."""
        return sum(self.part_seconds(part) for part in Part)

    @property
    def gap_fraction(self) -> float | None:
        """What the parts leave unexplained of the epoch: 1 - sum / seconds."""
        return 1 - self.part_sum_seconds / self.seconds if self.seconds else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """How well one class is told from the others on the test set.

    Attributes:
        precision: None where the class was never predicted.
        recall: None where the test set has no example of the class.
        f1: None where the class was neither predicted nor there.
        support: Test examples of the class.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """Predictions on the test set after the last epoch, against the truth.

    Attributes:
        confusion: Rows are true classes, columns predicted ones, counts.
        outside: Predictions outside the classes of the data (a model may have more outputs), by true class.
    """

    scores: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    outside: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        classes = len(self.scores)
        if [len(row) for row in self.confusion] != [classes] * classes or len(self.outside) not in (0, classes):
            raise ValueError(f"Classification: the confusion matrix is not one of {classes} classes")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """What was trained and tested on.

    Attributes:
        name: For people.
        input_shape: Shape of one example as the model gets it.
    """

    name: str
    train_examples: int
    test_examples: int
    input_shape: tuple[int, ...]
    classes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """What the training process gives: everything that was measured, and how far it came.

    Attributes:
        epochs: Finished ones.
        is_complete: Whether all epochs of the plan are there.
        steps_done: Steps done in the epoch that was interrupted.
        classification: None until the last epoch is done.
        resumptions: How often it was resumed from a checkpoint.
    """

    data: DataFacts
    parameters: int
    epochs: tuple[Epoch, ...]
    is_complete: bool
    steps_done: int = 0
    classification: Classification | None = None
    advice: tuple[Advice, ...] = ()
    state: MachineState | None = None
    resumptions: int = 0

    @property
    def final_loss(self) -> float | None:
        """Loss of the very last training step; None where it is not finite or nothing was trained."""
        return self.epochs[-1].losses[-1] if self.epochs and self.epochs[-1].losses else None

    def seconds_to(self, accuracy: float) -> float | None:
        """Time until the test accuracy was reached: training and evaluating up to that epoch's end, no checkpoints."""
        total = 0.0
        for epoch in self.epochs:
            total += epoch.seconds + (epoch.evaluation_seconds or 0.0)
            if epoch.test_accuracy is not None and epoch.test_accuracy >= accuracy:
                return total
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training, measured; the file `training/<key>.json` of its run.

    Attributes:
        run: None where nothing came back.
        reason: Why the outcome is not OK, one line.
        output_tail: The end of what the process printed, where it did not end OK.
        started_at: ISO 8601 with zone.
        duration_seconds: Duration of the last start, from the plan to the result.
    """

    plan: TrainingPlan
    outcome: Outcome
    reason: str | None = None
    environment: Environment | None = None
    run: TrainingRun | None = None
    output_tail: str | None = None
    started_at: str
    duration_seconds: float
    stepbench: str
    schema: int = TRAINING_SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a training is, for whoever shows it.

    Attributes:
        epoch: Number of the epoch, from 1; the one that runs, or has just ended.
        steps: Done in it.
        total_steps: Number of steps of the epoch.
        epochs: Number of epochs.
        loss: Loss of a recent step, where it is known.
        finished: The epoch that has just ended.
    """

    epoch: int
    steps: int
    total_steps: int
    epochs: int
    loss: float | None = None
    finished: Epoch | None = None

    @property
    def done(self) -> int:
        """Steps done in all epochs."""
        return (self.epoch - 1) * self.total_steps + self.steps


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelinePoint:
    """One combination of workers, batch size, prefetching and pinned memory, measured three times.

    Attributes:
        plan: Model, data, batch size, workers, prefetch, pinned memory; what only a whole training has is not read.
        start_seconds: Until the loader gave its first batch, its workers' start included.
        data_seconds: Per batch, of the loader alone, after the batches that were prepared ahead.
        step_seconds: Per step, of the step alone, on one batch that lies on the device.
        joint_seconds: Per step, of both together, copying included.
        wait_seconds: Time that the step waited for its batch, part of these.
        reason: Why the outcome is not OK.
    """

    plan: TrainingPlan
    outcome: Outcome = Outcome.OK
    reason: str | None = None
    start_seconds: float | None = None
    data_seconds: tuple[float, ...] = ()
    step_seconds: tuple[float, ...] = ()
    joint_seconds: tuple[float, ...] = ()
    wait_seconds: tuple[float, ...] = ()
    advice: tuple[Advice, ...] = ()

    @property
    def data_examples_per_second(self) -> float | None:
        """What the loader alone gives."""
        return self._rate(self.data_seconds)

    @property
    def step_examples_per_second(self) -> float | None:
        """What the step alone takes."""
        return self._rate(self.step_seconds)

    @property
    def joint_examples_per_second(self) -> float | None:
        """What both reach together."""
        return self._rate(self.joint_seconds)

    @property
    def wait_fraction(self) -> float | None:
        """Share of the joint time that the step waits."""
        total = sum(self.joint_seconds)
        return sum(self.wait_seconds) / total if total else None

    def _rate(self, seconds: Sequence[float]) -> float | None:
        """Divide examples by time, not by a median: workers deliver in bursts."""
        total = sum(seconds)
        return self.plan.batch_size * len(seconds) / total if total else None
