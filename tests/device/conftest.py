"""A small workload with a convolution, its cells, and a machine with two fake GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from bench.core.cell import Cell
from bench.core.workload import Workload
from tests.fakes.gpu import FakeMachine


class Net(nn.Module):
    """A convolution, a pool and a linear layer; remembers the dtype of its logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.drop(self.conv(images).relu().mean((2, 3))))


@pytest.fixture
def workload() -> Workload:
    def make_batch(batch_size: int, device: Any) -> Any:
        return (torch.rand(batch_size, 3, 8, 8, device=device),), torch.randint(5, (batch_size,), device=device)

    return Workload(
        name="net",
        build_model=Net,
        make_batch=make_batch,
        loss=nn.functional.cross_entropy,
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )


@pytest.fixture
def cell() -> Cell:
    return Cell(model="net", batch_size=4)


@pytest.fixture
def random_state() -> Iterator[None]:
    """Fail if the test leaves torch's random state changed."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def machine() -> Iterator[FakeMachine]:
    machine = FakeMachine(gpus=2)
    with machine.installed():
        yield machine
