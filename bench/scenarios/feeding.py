"""Between a loader's batches and a step: what the model takes, and how it gets it."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.core.errors import DataError
from bench.core.training import TrainingPlan
from bench.device.step import Step


def input_shape(step: Step, model: str) -> tuple[int, ...]:
    """Read the shape of one example off the step's own batch.

    Raises:
        DataError: The model does not take one tensor of real numbers.
    """
    inputs = step.batch[0]
    if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or not inputs[0].is_floating_point():
        found = ", ".join(f"{x.dtype}".removeprefix("torch.") if isinstance(x, Tensor) else "?" for x in inputs)
        raise DataError(
            f"model {model!r} takes {len(inputs)} input{'s' if len(inputs) != 1 else ''} ({found}), and digits are one "
            "image of real numbers; train for example my_net, walkthrough_cnn or mlp"
        )
    return tuple(inputs[0].shape[1:])


def feed(step: Step, images: Tensor, labels: Tensor, plan: TrainingPlan) -> None:
    """Copy a batch to the step's device, in the type of its inputs; from pinned memory without waiting."""
    dtype = step.batch[0][0].dtype
    step.batch = (
        (images.to(plan.device, dtype, non_blocking=plan.pin_memory),),
        labels.to(plan.device, torch.int64, non_blocking=plan.pin_memory),
    )
