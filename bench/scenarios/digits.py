"""Digits that are drawn: ten glyphs of straight strokes, each time bent, turned, moved, thick or thin, and noisy.

They stand in for MNIST where nothing may be downloaded: same size, same files, ten classes that a small network learns
in minutes. They are easier than MNIST. Drawn by torch, the same for the same seed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SIZE = 28
"""Pixels, height and width: MNIST's."""

_OVAL = tuple((0.5 + 0.27 * math.sin(a), 0.5 - 0.42 * math.cos(a)) for a in (i * math.tau / 12 for i in range(13)))
_SIX = (
    *((0.68, 0.10), (0.40, 0.28), (0.25, 0.58), (0.30, 0.83), (0.52, 0.92)),
    *((0.73, 0.80), (0.72, 0.60), (0.52, 0.50), (0.28, 0.62)),
)
_STROKES = (
    _OVAL,
    ((0.33, 0.27), (0.54, 0.10), (0.54, 0.90)),
    ((0.20, 0.30), (0.30, 0.13), (0.50, 0.08), (0.72, 0.16), (0.77, 0.33), (0.65, 0.52), (0.20, 0.90), (0.82, 0.90)),
    (
        *((0.22, 0.15), (0.50, 0.08), (0.75, 0.20), (0.70, 0.40), (0.45, 0.48)),
        *((0.75, 0.58), (0.78, 0.78), (0.50, 0.92), (0.20, 0.83)),
    ),
    ((0.63, 0.90), (0.63, 0.10), (0.20, 0.63), (0.83, 0.63)),
    ((0.76, 0.10), (0.30, 0.10), (0.27, 0.45), (0.52, 0.40), (0.76, 0.52), (0.77, 0.75), (0.52, 0.92), (0.20, 0.84)),
    _SIX,
    ((0.20, 0.10), (0.80, 0.10), (0.42, 0.90)),
    (
        *((0.50, 0.48), (0.28, 0.36), (0.30, 0.15), (0.50, 0.08), (0.70, 0.15), (0.72, 0.36), (0.50, 0.48)),
        *((0.25, 0.62), (0.25, 0.83), (0.50, 0.92), (0.75, 0.83), (0.75, 0.62), (0.50, 0.48)),
    ),
    tuple((1 - x, 1 - y) for x, y in _SIX),  # a nine is a six upside down
)
"""By digit, the corners of one line in a unit square; x to the right, y down."""

_CHUNK = 256
"""Digits drawn at once; bounds the memory to some megabytes."""


def draw_digits(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw `count` digits, as many of each class as possible, in random order.

    Returns:
        Images, uint8 `(count, 28, 28)`, white on black, and labels, uint8 `(count,)`.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.arange(count) % 10)[torch.randperm(count, generator=generator)]
    images = [_draw(part, generator) for part in torch.split(labels, _CHUNK)]
    return torch.cat(images), labels.to(torch.uint8)


def _draw(labels: Tensor, generator: torch.Generator) -> Tensor:
    count = len(labels)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    longest = max(map(len, _STROKES))
    padded = torch.tensor([[*stroke, *[stroke[-1]] * (longest - len(stroke))] for stroke in _STROKES])
    points = padded[labels] - 0.5  # (N, P, 2)
    points = points + 0.022 * torch.randn(count, longest, 2, generator=generator)
    angle, shear = uniform(-0.25, 0.25), uniform(-0.25, 0.25)  # radians; share of the height
    width, height = uniform(0.55, 0.85), uniform(0.65, 0.85)
    x, y = points[..., 0] * width[:, None], points[..., 1] * height[:, None]
    x = x + shear[:, None] * y
    cosine, sine = angle.cos()[:, None], angle.sin()[:, None]
    turned = torch.stack((cosine * x - sine * y, sine * x + cosine * y), -1) + uniform(0.42, 0.58, 1, 2)  # (N, P, 2)
    thickness = uniform(0.025, 0.055, 1, 1)
    edge = 0.03
    ink = ((thickness - _distances(turned)) / edge + 0.5).clamp(0, 1) * uniform(0.7, 1.0, 1, 1)  # (N, H, W)
    noisy = ink + 0.06 * torch.randn(ink.shape, generator=generator)
    return (noisy.clamp(0, 1) * 255).round().to(torch.uint8)


def _distances(points: Tensor) -> Tensor:
    """Measure how far each pixel is from the nearest segment of the line through `points` `(N, P, 2)`: `(N, H, W)`."""
    line = (torch.arange(SIZE) + 0.5) / SIZE
    pixels = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).view(1, SIZE, SIZE, 2)
    nearest = torch.full((len(points), SIZE, SIZE), math.inf)
    for start, end in zip(points[:, :-1].unbind(1), points[:, 1:].unbind(1), strict=True):
        start, along = start[:, None, None], (end - start)[:, None, None]  # (N, 1, 1, 2)
        length = along.square().sum(-1).clamp_min(1e-12)
        share = (((pixels - start) * along).sum(-1) / length).clamp(0, 1)  # (N, H, W)
        nearest = torch.minimum(nearest, (pixels - start - share[..., None] * along).square().sum(-1))
    return nearest.sqrt()
