"""The convolutional network that the seed page builds step by step: two convolutions, one pool, two linear layers.

From the "Deep Learning" primer of HackTricks (AI section): 48 x 48 RGB images, 3x3 kernels with padding 1, 43 classes
where it speaks of GTSRB (German traffic signs). Its layers carry the page's documented counts and shapes; the page's
3,221,504 parameters for `fc1` are wrong, the true (64 * 24 * 24 + 1) * 512 = 18,874,880 is what is built here.
Dropout stands where the page's full network (`my_net`) has it. Left out: data loading and augmentation.
`pool` and `dense` are for comparing: what pooling saves, and what a convolution saves by sharing its weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST = 2**24  # of any size: what is larger is a slip of the finger


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the network; the defaults are the page's."""

    classes: int = 43  # GTSRB
    image_size: int = 48  # pixels, height and width; even
    dropout: float = 0.5  # probability, before each linear layer
    pool: bool = True  # False leaves the pool out, so that fc1 reads maps of four times the area
    dense: bool = False  # True puts a linear layer of equal output in place of conv1, with a weight for every pair

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if type(value) is int and not 1 <= value <= LARGEST:
                raise ValueError(f"{name} {value} is no size; take 1 to {LARGEST:,}")
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"dropout {self.dropout} is no probability; take 0 to 1")
        if self.pool and self.image_size % 2:
            raise ValueError(f"image_size {self.image_size} must be even, or pool=false")

    @property
    def features(self) -> int:
        """Values that reach fc1: 64 * 24 * 24 for 48 x 48 images."""
        return 64 * (self.image_size // (2 if self.pool else 1)) ** 2


class WalkthroughCNN(nn.Module):
    """Two convolutions, one pool, two linear layers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        size = config.image_size
        if config.dense:
            self.dense1 = nn.Linear(3 * size**2, 32 * size**2)
        else:
            self.conv1 = nn.Conv2d(3, 32, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.pool1 = nn.MaxPool2d(kernel_size=2, stride=2) if config.pool else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.fc1 = nn.Linear(config.features, 512)
        self.fc2 = nn.Linear(512, config.classes)
        self.config = config

    def forward(self, images: Tensor) -> Tensor:
        """Turn images `(B, 3, 48, 48)` into logits `(B, classes)`."""
        x = F.relu(self.first(images))  # (B, 32, 48, 48)
        x = F.relu(self.conv2(x))  # (B, 64, 48, 48)
        x = self.pool1(x)  # (B, 64, 24, 24)
        x = x.flatten(1)  # (B, 36864)
        x = F.relu(self.fc1(self.dropout(x)))  # (B, 512)
        return self.fc2(self.dropout(x))  # (B, classes)

    def first(self, images: Tensor) -> Tensor:
        """Apply conv1, or the linear layer in its place: `(B, 3, 48, 48)` to `(B, 32, 48, 48)`."""
        if not self.config.dense:
            return self.conv1(images)
        return self.dense1(images.flatten(1)).unflatten(1, (32, self.config.image_size, self.config.image_size))


def build_model(config: Config) -> nn.Module:
    """Build the network with random weights."""
    return WalkthroughCNN(config)


def make_batch(config: Config, batch_size: int, device: str | torch.device) -> tuple[tuple[Tensor], Tensor]:
    """Draw normalised images `(B, 3, 48, 48)` and class ids `(B,)`."""
    images = torch.randn(batch_size, 3, config.image_size, config.image_size, device=device)
    return (images,), torch.randint(config.classes, (batch_size,), device=device)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Compute the cross entropy of logits `(B, classes)` against class ids `(B,)`."""
    return F.cross_entropy(outputs, targets)


def make_optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Make the page's optimizer: Adam, lr 1e-3, weight decay 1e-4."""
    return torch.optim.Adam(parameters, lr=1e-3, weight_decay=1e-4)


def forward_flops(config: Config, batch_size: int) -> int:
    """Count convolutions (2 H W C_out C_in 9 per image) and linear layers (2 in out); the rest is ignored."""
    pixels = config.image_size**2
    first = 2 * 3 * pixels * 32 * pixels if config.dense else 2 * pixels * 32 * 3 * 9
    conv2 = 2 * pixels * 64 * 32 * 9
    return batch_size * (first + conv2 + 2 * config.features * 512 + 2 * 512 * config.classes)
