"""What an accelerator's autocast computes in fp32, against models that say so themselves, counted on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from bench.core.cell import Cell, Precision
from bench.core.workload import Workload
from bench.counters.autocast import autocast_as_on_accelerators
from bench.counters.memory import predict
from tests.counters.small import image_workload

CELL = Cell(model="m", batch_size=4, precision=Precision.BF16_AMP)


class Attention(nn.Module):
    """Attention by hand, as many models have it; `is_said` casts where an accelerator's autocast does."""

    def __init__(self, *, is_said: bool) -> None:
        super().__init__()
        self.is_said = is_said
        self.project = nn.Linear(3, 3 * 64)
        self.head = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        queries, keys, values = self.project(images.flatten(2).transpose(1, 2)).chunk(3, -1)
        scores = queries @ keys.transpose(1, 2)
        if self.is_said:
            scores = scores.float()
        return self.head((scores.softmax(-1) @ values).mean(1))


class Norms(nn.Module):
    """Norms of what a product returned in half precision."""

    def __init__(self, *, is_said: bool) -> None:
        super().__init__()
        self.is_said = is_said
        self.layers = nn.ModuleList(nn.Linear(width, 64) for width in (3, 64, 64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images.flatten(2).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
            x = nn.functional.layer_norm(x.float() if self.is_said else x, (64,))
            x = x * (x.float() if self.is_said else x).pow(2).mean(-1, keepdim=True).rsqrt()
        return x.mean(1)


def peak(build: type[nn.Module], is_said: bool, device: str, precision: Precision = Precision.BF16_AMP) -> int:
    workload: Workload = image_workload(lambda: build(is_said=is_said), size=24)  # type: ignore[call-arg]
    return predict(workload, replace(CELL, device=device, precision=precision)).total_bytes


class Enlarges(nn.Module):
    """A decoder of images: each enlarged, then convolved."""

    def __init__(self, *, is_said: bool) -> None:
        super().__init__()
        self.is_said = is_said
        self.layers = nn.ModuleList(nn.Conv2d(width, 16, 3, padding=1) for width in (3, 16, 16))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.layers[0](images)
        for layer in self.layers[1:]:
            x = nn.functional.interpolate(x.float() if self.is_said else x, scale_factor=2)
            x = layer(x)
        return x.mean((2, 3))


@pytest.mark.parametrize("build", [Attention, Norms, Enlarges])
@pytest.mark.parametrize("precision", [Precision.BF16_AMP, Precision.FP16_AMP])
def test_what_autocast_computes_in_fp32_on_a_gpu_is_kept_in_fp32(build: type[nn.Module], precision: Precision) -> None:
    """Else a model with a softmax of its own is predicted with half of its largest tensors (A3)."""
    said = peak(build, True, "cpu", precision)
    assert peak(build, False, "cpu", precision) < 0.9 * said
    assert peak(build, False, "cuda:0", precision) == pytest.approx(said, rel=0.01)  # other rounding, and foreach


@pytest.mark.parametrize("build", [Attention, Norms])
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_without_autocast_nothing_is_cast(build: type[nn.Module], precision: Precision) -> None:
    assert peak(build, False, "cuda:0", precision) == pytest.approx(peak(build, False, "cpu", precision), rel=0.01)


def test_it_holds_inside_only() -> None:
    half = torch.ones(4, dtype=torch.bfloat16)

    def types() -> list[torch.dtype]:
        with torch.autocast("cpu"):
            return [half.softmax(0).dtype, half.exp().dtype, half.sum().dtype, (half * half).dtype]

    with autocast_as_on_accelerators():
        assert types() == [torch.float32, torch.float32, torch.float32, torch.bfloat16]
        with torch.autocast("cpu"):
            assert half.softmax(0, dtype=torch.bfloat16).dtype is torch.bfloat16  # as the caller asks
            assert torch.ones(4, dtype=torch.float64).exp().dtype is torch.float64
        assert half.softmax(0).dtype is torch.bfloat16
    assert types() == [torch.bfloat16] * 4
