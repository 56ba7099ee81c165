"""A model that does nothing: what remains of measuring it is the cost of measuring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.workload import Batch, Workload

if TYPE_CHECKING:
    import torch


def workload() -> Workload:
    """Make a Workload of one weight and one number per example."""
    import torch

    def make_batch(batch_size: int, device: str | torch.device) -> Batch:
        return (torch.ones(batch_size, 1, device=device),), torch.ones(batch_size, 1, device=device)

    return Workload(
        build_model=lambda: torch.nn.Linear(1, 1, bias=False),
        make_batch=make_batch,
        loss=lambda outputs, _: outputs.mean(),
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0),
    )
