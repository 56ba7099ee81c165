"""What a model brings to be measured: the only value here that is not JSON, because it holds callables.

The types of torch are named in quotes; this room never imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Batch = tuple[tuple[Any, ...], Any]
"""`(inputs, targets)`: the model is called as `model(*inputs)`, the loss as `loss(outputs, targets)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A model with everything that one training step needs.

    Attributes:
        name: The model spec it was resolved from.
        build_model: Builds the model with random weights on the current default device, in train mode.
        make_batch: `(batch_size, device) -> (inputs, targets)`; `inputs` is a tuple of tensors. Must work on `cpu`,
            `cuda:N`, `meta` and under a fake tensor mode, so: no data-dependent control flow, no host reads.
        loss: `(outputs, targets) -> scalar tensor`.
        make_optimizer: `parameters -> torch.optim.Optimizer`; the workload's own choice.
        tokens_per_example: For language models; None where an example is not a sequence.
        closed_form_flops: `batch_size -> FLOPs of one forward pass` (1 MAC = 2) where the model states a formula.
        source_file: Where the model is written, for annotations; None if unknown.
    """

    name: str = ""
    build_model: Callable[[], torch.nn.Module]
    make_batch: Callable[[int, str | torch.device], Batch]
    loss: Callable[[Any, Any], torch.Tensor]
    make_optimizer: Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]
    tokens_per_example: int | None = None
    closed_form_flops: Callable[[int], int] | None = None
    source_file: str | None = None
