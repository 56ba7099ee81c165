"""MY_NET, the seed page's full network: three convolutions, two pools, dropout, two linear layers.

From the "Deep Learning" primer of HackTricks (AI section), trained there on MNIST resized to 48 x 48 and repeated to
three channels, batch 64, Adam. Default 32 classes, as in its code. The page pools twice with one module; here `pool1`
and `pool2` are two, so that each has one output shape. `pool` is an option, so that what pooling saves can be measured.
Left out: data loading, augmentation, the training loop.
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

    classes: int = 32  # the page's default; 10 for MNIST, 43 for GTSRB
    image_size: int = 48  # pixels, height and width; a multiple of 4
    dropout: float = 0.5  # probability, before each linear layer
    pool: bool = True  # False leaves both pools out, so that conv3 and fc1 read maps of 4 and 16 times the area

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if type(value) is int and not 1 <= value <= LARGEST:
                raise ValueError(f"{name} {value} is no size; take 1 to {LARGEST:,}")
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"dropout {self.dropout} is no probability; take 0 to 1")
        if self.pool and self.image_size % 4:
            raise ValueError(f"image_size {self.image_size} must be a multiple of 4, or pool=false")

    @property
    def features(self) -> int:
        """Values that reach fc1, the page's `_feature_size`: 128 * 12 * 12 for 48 x 48 images."""
        return 128 * (self.image_size // (4 if self.pool else 1)) ** 2


class MyNet(nn.Module):
    """Three convolutions, two pools, two linear layers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.pool1 = nn.MaxPool2d(kernel_size=2, stride=2) if config.pool else nn.Identity()
        self.conv3 = nn.Conv2d(64, 128, kernel_size=3, padding=1)
        self.pool2 = nn.MaxPool2d(kernel_size=2, stride=2) if config.pool else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.fc1 = nn.Linear(config.features, 512)
        self.fc2 = nn.Linear(512, config.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Turn images `(B, 3, 48, 48)` into logits `(B, classes)`."""
        x = F.relu(self.conv1(images))  # (B, 32, 48, 48)
        x = self.pool1(F.relu(self.conv2(x)))  # (B, 64, 24, 24)
        x = self.pool2(F.relu(self.conv3(x)))  # (B, 128, 12, 12)
        x = x.flatten(1)  # (B, 18432)
        x = F.relu(self.fc1(self.dropout(x)))  # (B, 512)
        return self.fc2(self.dropout(x))  # (B, classes)


def build_model(config: Config) -> nn.Module:
    """Build the network with random weights."""
    return MyNet(config)


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
    conv1 = 2 * pixels * 32 * 3 * 9
    conv2 = 2 * pixels * 64 * 32 * 9
    conv3 = 2 * (pixels // (4 if config.pool else 1)) * 128 * 64 * 9
    return batch_size * (conv1 + conv2 + conv3 + 2 * config.features * 512 + 2 * 512 * config.classes)
