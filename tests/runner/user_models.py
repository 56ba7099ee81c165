"""Models of a user, some of them broken; measured by the tests through the real command line."""

import torch
from torch import nn

from bench import Workload
from tests.runner import faults


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


class Does(nn.Module):
    """Does something in its forward pass, and then what every model does."""

    def __init__(self, what: str):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.what = what

    def forward(self, x):
        getattr(faults, self.what)()
        return self.layer(x)


def breaks_in(phase: str):
    """Make a Workload that raises in one phase."""

    def check(here):
        if here == phase:
            raise ArithmeticError(f"broken in {phase}")

    class BreaksInBackward(torch.autograd.Function):
        @staticmethod
        def forward(_, x):
            return x.clone()

        @staticmethod
        def backward(_, gradient):
            check("backward")
            return gradient

    class Model(nn.Linear):
        def forward(self, x):
            check("forward")
            return BreaksInBackward.apply(super().forward(x))

    class Optimizer(torch.optim.SGD):
        def step(self, closure=None):
            check("optimizer")
            return super().step(closure)

    def build_model():
        check("build")
        return Model(4, 3)

    def make_batch(size, device):
        check("batch")
        return (torch.randn(size, 4, device=device),), torch.zeros(size, device=device)

    def loss(outputs, _):
        check("loss")
        return outputs.square().mean()

    return Workload(
        build_model=build_model, make_batch=make_batch, loss=loss, make_optimizer=lambda ps: Optimizer(ps, lr=0.1)
    )


def too_wide():
    """A layer of a petabyte: no allocator gives it, but it can be counted."""
    return nn.Sequential(nn.Linear(4, 1 << 24), nn.Linear(1 << 24, 1 << 24))
