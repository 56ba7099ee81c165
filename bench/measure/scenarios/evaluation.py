"""What a model knows: loss and accuracy on the test set without gradients, and how it confuses the classes."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.core.progress import expect
from bench.core.training import Classification, ClassScore, TrainingPlan
from bench.core.workload import named
from bench.device.step import Step
from bench.measure.scenarios.calls import feed
from bench.measure.scenarios.images import Digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One pass over the test set.

    Attributes:
        loss: Mean over the examples; None where it is not finite.
        predictions: Index of the largest output, by example; beside it `targets`, the right class.
    """

    loss: float | None
    accuracy: float
    predictions: tuple[int, ...]
    targets: tuple[int, ...]
    seconds: float


def evaluate(step: Step, data: Digits, plan: TrainingPlan) -> Evaluation:
    """Run the test set through the model in eval mode; it is in train mode again afterwards.

    Waits for an accelerator once, at the end.
    """
    began = time.perf_counter()
    losses: list[Tensor] = []
    predictions: list[Tensor] = []
    targets: list[Tensor] = []
    with _eval_mode(step):
        for images, labels in data.test_loader(plan):
            feed(step, images, labels, plan)
            outputs = step.forward()
            losses.append(step.compute_loss(outputs).double() * len(labels))
            predictions.append(logits_of(outputs).argmax(-1))
            targets.append(step.batch[1])
            expect()
        found, truth = torch.cat(predictions).tolist(), torch.cat(targets).tolist()
        loss = float(torch.stack(losses).sum()) / len(truth)
    return Evaluation(
        loss=loss if math.isfinite(loss) else None,
        accuracy=sum(a == b for a, b in zip(found, truth, strict=True)) / len(truth),
        predictions=tuple(found),
        targets=tuple(truth),
        seconds=time.perf_counter() - began,
    )


def infer(step: Step) -> Any:
    """Return what the model answers in eval mode to the batch that lies ready."""
    with _eval_mode(step):
        return step.forward()


def logits_of(outputs: Any) -> Tensor:
    """Return the logits of a classifier: its output, its `logits`, or the first of several (auxiliary ones follow)."""
    found = outputs if isinstance(outputs, Tensor) else named(outputs, "logits")
    if found is None:
        found = outputs[0]
    assert isinstance(found, Tensor)
    return found


def classify(evaluation: Evaluation, classes: int) -> Classification:
    """Count by class, by scikit-learn: precision, recall, F1 and the confusion matrix."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    labels = list(range(classes))
    truth, found = evaluation.targets, evaluation.predictions
    columns = precision_recall_fscore_support(truth, found, labels=labels, zero_division=float("nan"))
    inside = [(a, b) for a, b in zip(truth, found, strict=True) if b < classes]
    outside = tuple(sum(a == label and b >= classes for a, b in zip(truth, found, strict=True)) for label in labels)
    matrix = confusion_matrix(*zip(*inside, strict=True), labels=labels) if inside else [[0] * classes] * classes
    return Classification(
        scores=tuple(
            ClassScore(name=str(label), precision=_known(p), recall=_known(r), f1=_known(f), support=int(s))
            for label, p, r, f, s in zip(labels, *columns, strict=True)
        ),
        confusion=tuple(tuple(int(count) for count in row) for row in matrix),
        outside=outside if any(outside) else (),
    )


def _known(share: float) -> float | None:
    """Turn a share of nothing, which scikit-learn gives as NaN here, into None."""
    return None if math.isnan(share) else float(share)


@contextlib.contextmanager
def _eval_mode(step: Step) -> Iterator[None]:
    """Switch model and step to inference, and back."""
    step.model.eval()
    step.is_training = False
    try:
        yield
    finally:
        step.is_training = True
        step.model.train()
