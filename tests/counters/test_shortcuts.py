"""What we say of batch normalisation is what torch says, bit for bit, in shape, layout, type and memory."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.counters.shortcuts import SHORTCUTS

aten = torch.ops.aten
SHAPES = [(4, 3), (4, 3, 5), (2, 3, 4, 5), (1, 3, 1, 2), (2, 1, 1, 1), (2, 3, 2, 2, 2)]


def described(outputs: Any) -> list[Any]:
    return [
        None if one is None else (one.shape, one.stride(), one.dtype, one.device, one.untyped_storage().nbytes())
        for one in outputs
    ]


def cases(device: str) -> list[tuple[Any, tuple[Any, ...]]]:
    found: list[tuple[Any, tuple[Any, ...]]] = []
    for shape, is_training in itertools.product(SHAPES, (True, False)):
        channels = shape[1]
        tensor = torch.empty(shape, device=device)
        weight, bias, mean, deviation = (torch.empty(channels, device=device) for _ in range(4))
        for scale in (weight, None):
            rest = (tensor, scale, bias, mean, deviation, is_training, 0.1, 1e-5)
            found.append((aten.native_batch_norm.default, rest))
        found.append((aten._native_batch_norm_legit.default, (tensor, weight, bias, mean, deviation, True, 0.1, 1e-5)))
        statistics = (mean, deviation, torch.empty_like(mean), torch.empty_like(mean))
        found.append(
            (
                aten.native_batch_norm_backward.default,
                (torch.empty_like(tensor), tensor, weight, *statistics, is_training, 1e-5, [True] * 3),
            )
        )
    return found


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_shortcut_returns_what_torch_returns(device: str) -> None:
    with FakeTensorMode() if device == "cpu" else torch.device("meta"):
        taken = 0
        for operation, args in cases(device):
            ours = SHORTCUTS[operation](args)
            if ours is not None:
                taken += 1
                assert described(ours) == described(operation(*args)), (operation, args)
    assert taken >= 20


@pytest.mark.parametrize(
    "tensor",
    [
        torch.empty(2, 3, 4, 4, device="meta").to(memory_format=torch.channels_last),
        torch.empty(2, 3, 4, 4, device="meta", dtype=torch.bfloat16),
        torch.empty(2, 3, 4, 8, device="meta")[..., ::2],
        torch.empty(1, 3, 1, 1, device="meta"),
    ],
    ids=["channels_last", "another type", "not contiguous", "one value per channel"],
)
def test_other_tensors_are_left_to_torch(tensor: torch.Tensor) -> None:
    channels = [torch.empty(3, device="meta") for _ in range(4)]
    assert SHORTCUTS[aten.native_batch_norm.default]((tensor, *channels, True, 0.1, 1e-5)) is None
