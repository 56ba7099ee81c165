"""Models of a user, some of them broken; measured by the tests through the real command line."""

import torch
from torch import nn

from bench import Workload


def tiny():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


class BreaksInForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        raise ValueError("shapes do not fit: (3,) and (4,)")


def raises():
    raise RuntimeError("this callable always raises")


def not_a_model():
    return 42


def nan_loss():
    return Workload(
        build_model=tiny,
        make_batch=lambda size, device: ((torch.randn(size, 4, device=device),), torch.zeros(size, device=device)),
        loss=lambda outputs, _: outputs.sum() * float("nan"),
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )
