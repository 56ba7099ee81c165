"""Small workloads whose memory can be worked out by hand, shared by the tests of this room."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from bench.core.cell import Cell, MemoryFormat, Mode, Precision
from bench.core.workload import Workload
from bench.counters.dispatches import OperationCounter, StepOperations
from bench.counters.fakes import fake_step, without_collector
from bench.counters.static import count_saved
from bench.device.step import Step

CLASSES = 5


def image_workload(build: Callable[[], nn.Module], size: int = 8) -> Workload:
    """Classify images of shape (3, size, size)."""
    return Workload(
        build_model=build,
        make_batch=lambda batch, device: (
            (torch.randn(batch, 3, size, size, device=device),),
            torch.randint(0, CLASSES, (batch,), device=device),
        ),
        loss=nn.functional.cross_entropy,
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )


def token_workload(build: Callable[[], nn.Module], length: int = 6, tokens: int = 11) -> Workload:
    """Predict a token for each of `length` tokens."""
    return Workload(
        build_model=build,
        make_batch=lambda batch, device: (
            (torch.randint(0, tokens, (batch, length), device=device),),
            torch.randint(0, tokens, (batch, length), device=device),
        ),
        loss=lambda outputs, targets: nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten()),
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )


def linear_workload(features: int, outputs: int, *, optimizer: Callable[..., torch.optim.Optimizer]) -> Workload:
    """One linear layer without bias; the loss is the sum of its outputs, so that every byte can be counted by hand."""
    return Workload(
        build_model=lambda: nn.Linear(features, outputs, bias=False),
        make_batch=lambda batch, device: ((torch.randn(batch, features, device=device),), None),
        loss=lambda values, _: values.sum(),
        make_optimizer=optimizer,
    )


def sgd(parameters: object) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)  # type: ignore[arg-type]


def cell(
    batch_size: int = 4,
    *,
    mode: Mode = Mode.TRAIN,
    optimizer: str | None = None,
    precision: Precision = Precision.FP32,
    memory_format: MemoryFormat = MemoryFormat.CONTIGUOUS,
    device: str = "cpu",
) -> Cell:
    return Cell(
        model="small",
        batch_size=batch_size,
        mode=mode,
        optimizer=optimizer,
        precision=precision,
        memory_format=memory_format,
        device=device,
    )


class Tied(nn.Module):
    """A language model whose output layer shares the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(tokens))


class Recurrent(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.recurrent = getattr(nn, kind)(8, 16, 2, batch_first=True)
        self.head = nn.Linear(16, 11)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.recurrent(self.embedding(tokens))[0])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.blocks = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False
        )
        self.head = nn.Linear(8, 11)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.embedding(tokens)))


class Checkpointed(nn.Module):
    """Three hidden layers of width 64; with `enabled`, their activations are recomputed in backward."""

    def __init__(self, enabled: bool) -> None:
        super().__init__()
        self.enabled = enabled
        layers = [module for _ in range(3) for module in (nn.Linear(64, 64), nn.GELU())]
        self.first, self.hidden, self.head = nn.Linear(192, 64), nn.Sequential(*layers), nn.Linear(64, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values = self.first(images.flatten(1))
        if self.enabled:
            values = torch.utils.checkpoint.checkpoint(self.hidden, values, use_reentrant=False)
        else:
            values = self.hidden(values)
        return self.head(values)


def convolutional(channels: int = 4, extra: int = 0) -> nn.Module:
    """Convolution, batch normalisation, pooling, dropout, linear; `extra` more layers of the same width."""
    more = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(extra)]
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        *more,
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(channels * 16, CLASSES),
    )


class RoundTrip(nn.Module):
    """The same network with its images sent to channels_last and back first: nothing computed, bytes moved."""

    def __init__(self) -> None:
        super().__init__()
        self.network = convolutional()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = images.contiguous(memory_format=torch.channels_last).contiguous()
        return self.network(images)


WORKLOADS = {
    "convolutional": image_workload(convolutional),
    "tied": token_workload(Tied),
    "lstm": token_workload(lambda: Recurrent("LSTM")),
    "gru": token_workload(lambda: Recurrent("GRU")),
    "attention": token_workload(Attention),
    "checkpointed": image_workload(lambda: Checkpointed(True)),
    "mse": Workload(
        build_model=lambda: nn.Linear(6, 6),
        make_batch=lambda batch, device: (
            (torch.randn(batch, 6, device=device),),
            torch.randn(batch, 6, device=device),
        ),
        loss=nn.functional.mse_loss,
        make_optimizer=sgd,
    ),
}


def count_step(step: Step) -> StepOperations:
    """Run one step, real or fake, and count it. Run another one before, or the optimizer's first step is counted."""
    counter = OperationCounter()
    with without_collector(), counter:
        step()
    return counter.result()


def count_operations(workload: Workload, one: Cell) -> StepOperations:
    """Count one steady step on fake CPU tensors."""
    with fake_step(workload, one) as step:
        step()
        return count_step(step)


def count_saved_bytes(workload: Workload, one: Cell) -> int:
    """Count what forward and loss save, on fake CPU tensors."""
    with fake_step(workload, one) as step:
        return count_saved(step)
