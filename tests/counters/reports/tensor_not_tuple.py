"""`make_batch` returns a tensor where a tuple of tensors is asked for: one input, at every batch size."""

import torch
from torch import nn

from bench import Workload


def net():
    def make_batch(batch_size, device):
        return torch.randn(batch_size, 10, 16, device=device), torch.randint(4, (batch_size, 10), device=device)

    return Workload(
        build_model=lambda: nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)),
        make_batch=make_batch,
        loss=lambda outputs, targets: nn.functional.cross_entropy(outputs.flatten(0, -2), targets.flatten()),
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e-3),
    )
