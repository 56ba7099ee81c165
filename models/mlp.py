"""A multilayer perceptron: linear layers with an activation between them.

The first network of the seed page: neurons in an input layer, hidden layers and an output layer, each computing
z = w x + b and an activation. Activation and loss are options, so that the cost of each can be compared on one network.
Left out: normalisation, dropout, weight sharing. `softmax` as a hidden activation is unusual; it is here because the
page lists it among the activations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softmax": nn.Softmax,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky_relu": nn.LeakyReLU,
}
LOSSES = ("cross_entropy", "bce", "mse")
LARGEST = 2**24  # of any size: what is larger is a slip of the finger
DEEPEST = 10_000  # layers


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the network; `depth` counts the linear layers."""

    inputs: int = 784  # features of one example: 28 * 28
    width: int = 256  # neurons of each hidden layer
    depth: int = 3  # linear layers, the output layer included
    classes: int = 10  # outputs
    activation: str = "relu"  # one of ACTIVATIONS, after every layer but the last
    loss: str = "cross_entropy"  # one of LOSSES: class ids, yes/no labels or real values as targets

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            most = DEEPEST if name == "depth" else LARGEST
            if type(value) is int and not 1 <= value <= most:
                raise ValueError(f"{name} {value} is no size; take 1 to {most:,}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation {self.activation!r} is not one of {', '.join(ACTIVATIONS)}")
        if self.loss not in LOSSES:
            raise ValueError(f"loss {self.loss!r} is not one of {', '.join(LOSSES)}")


class MLP(nn.Module):
    """`depth` linear layers named `layers.0`, `layers.1`, ..."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        sizes = _sizes(config)
        self.layers = nn.ModuleList(nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(sizes))
        activation = ACTIVATIONS[config.activation]
        self.activation = activation(dim=-1) if activation is nn.Softmax else activation()

    def forward(self, x: Tensor) -> Tensor:
        """Turn features `(B, inputs)` into raw outputs `(B, classes)`."""
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


def _sizes(config: Config) -> list[int]:
    """List the widths from input to output."""
    return [config.inputs, *[config.width] * (config.depth - 1), config.classes]


def build_model(config: Config) -> nn.Module:
    """Build the network with random weights."""
    return MLP(config)


def make_batch(config: Config, batch_size: int, device: str | torch.device) -> tuple[tuple[Tensor], Tensor]:
    """Draw features `(B, inputs)` and targets of the dtype that `loss` tells its kind by."""
    features = torch.randn(batch_size, config.inputs, device=device)
    if config.loss == "mse":
        return (features,), torch.randn(batch_size, config.classes, device=device)
    if config.loss == "bce":
        return (features,), torch.randint(2, (batch_size, config.classes), device=device).bool()
    return (features,), torch.randint(config.classes, (batch_size,), device=device)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Compute cross entropy for class ids (int), BCE with logits for labels (bool), MSE for real values (float)."""
    if targets.dtype is torch.bool:
        return F.binary_cross_entropy_with_logits(outputs, targets.to(outputs.dtype))
    if targets.dtype.is_floating_point:
        return F.mse_loss(outputs, targets)
    return F.cross_entropy(outputs, targets)


def make_optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Make SGD with momentum; the page prescribes none for this network."""
    return torch.optim.SGD(parameters, lr=1e-2, momentum=0.9)


def forward_flops(config: Config, batch_size: int) -> int:
    """Count 2 B in out for each linear layer (1 MAC = 2); bias and activation are ignored."""
    sizes = _sizes(config)
    return sum(2 * batch_size * fan_in * fan_out for fan_in, fan_out in pairwise(sizes))
