"""Small models with what makes attribution hard: in-place operations, branches, modules shared and called twice."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bench.core.cell import Cell
from bench.core.workload import Workload

WIDTH = 64


class Block(nn.Module):
    """A residual block with an in-place activation that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.second = nn.Linear(WIDTH, WIDTH)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(x + self.second(self.relu(self.first(x))))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(WIDTH, WIDTH)
        self.left = Block()
        self.right = Block()
        self.shared = nn.Linear(WIDTH, WIDTH)
        self.wide = nn.Linear(WIDTH, 40 * WIDTH)
        self.head = nn.Linear(40 * WIDTH, 4)

    def forward(self, x):
        x = self.stem(x)
        x = self.shared(self.left(x)) + self.shared(self.right(x))
        return self.head(self.wide(x).sigmoid_())


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = Block()
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, x):
        return self.head(checkpoint(self.body, x, use_reentrant=False))


class ReadsValues(nn.Module):
    """What makes an accelerator wait, in forward and in backward."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, 4)
        self.unused = nn.Linear(3, 5)
        self.scale = 1.0

    def forward(self, x):
        x = self.layer(x)
        self.scale = 1.0 if x.mean().item() > 0 else 2.0  # this line synchronises
        return ReadsInBackward.apply(x) * self.scale


class ReadsInBackward(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient * float(gradient.abs().max() >= 0)  # and this one


def workload(build) -> Workload:
    return Workload(
        build_model=build,
        make_batch=lambda size, device: (
            (torch.randn(size, WIDTH, device=device, requires_grad=False),),
            torch.zeros(size, dtype=torch.long, device=device),
        ),
        loss=nn.functional.cross_entropy,
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
    )


def cell(batch_size: int = 16, **axes) -> Cell:
    return Cell(model="small", batch_size=batch_size, threads=1, **axes)
