"""Tensors inside a dict, or a list, inside the tuple of inputs: a precision must reach them, too."""

import torch
from torch import nn

from bench import Workload


class Net(nn.Module):
    def __init__(self, key):
        super().__init__()
        self.key = key
        self.layer = nn.Linear(16, 4)

    def forward(self, batch):
        return self.layer(batch[self.key])


def net(container="dict"):
    def make_batch(batch_size, device):
        x = torch.randn(batch_size, 16, device=device)
        return ({"x": x} if container == "dict" else [x],), torch.randint(4, (batch_size,), device=device)

    return Workload(
        build_model=lambda: Net("x" if container == "dict" else 0),
        make_batch=make_batch,
        loss=nn.functional.cross_entropy,
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e-3),
    )
