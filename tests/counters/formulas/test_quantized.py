"""Quantised recurrent layers and convolutions: the parameters and the FLOPs of the layers that they were made of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from bench.core.cell import Cell, Mode
from bench.core.workload import Workload
from bench.counters.static import count

WIDTH, HIDDEN, STEPS, BATCH = 6, 7, 5, 4


class Recurrent(nn.Module):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        layers = nn.ModuleDict({"layer": kind(WIDTH, HIDDEN, num_layers=2, bidirectional=True)})
        self.layers = torch.ao.quantization.quantize_dynamic(layers, {kind}, dtype=torch.qint8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers["layer"](x)[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3)])
@pytest.mark.filterwarnings("ignore")
def test_a_quantised_recurrent_layer_counts_as_the_layer_that_it_was(kind: Any, gates: int) -> None:
    workload = Workload(
        name="quantised",
        build_model=lambda: Recurrent(kind),
        make_batch=lambda size, device: (torch.randn(STEPS, size, WIDTH, device=device), None),
        loss=lambda outputs, _: outputs.sum(),
        make_optimizer=torch.optim.SGD,
    )
    counters, advice = count(workload, Cell(model="quantised", mode=Mode.INFER, batch_size=BATCH))
    whole = kind(WIDTH, HIDDEN, num_layers=2, bidirectional=True)
    assert counters.parameters == sum(parameter.numel() for parameter in whole.parameters())
    weights = 2 * gates * HIDDEN * ((WIDTH + HIDDEN) + (2 * HIDDEN + HIDDEN))  # two directions, two layers
    assert counters.flops is not None and counters.flops.forward == 2 * STEPS * BATCH * weights
    assert advice == ()


class Convolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.ao.nn.quantized.Conv2d(6, 8, (3, 2), stride=2, padding=1, groups=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.quantize_per_tensor(x, 0.1, 0, torch.quint8)
        y = self.layer(x)
        return torch.ops.quantized.add(y, y, 0.1, 0).dequantize()  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_convolution_counts_as_the_convolution_that_it_was() -> None:
    workload = Workload(
        name="quantised",
        build_model=Convolution,
        make_batch=lambda size, device: (torch.randn(size, 6, 9, 10, device=device), None),
        loss=lambda outputs, _: outputs.sum(),
        make_optimizer=torch.optim.SGD,
    )
    counters, advice = count(workload, Cell(model="quantised", mode=Mode.INFER, batch_size=BATCH))
    assert counters.parameters == 8 * 3 * 3 * 2 + 8
    assert counters.flops is not None
    assert counters.flops.forward == 2 * BATCH * (5 * 6) * 8 * 3 * 3 * 2
    assert advice == ()


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_cannot_be_trained_has_its_parameters_and_the_reason() -> None:
    workload = Workload(
        name="quantised",
        build_model=lambda: torch.ao.quantization.quantize_dynamic(
            nn.Sequential(nn.Linear(16, 17), nn.ReLU(), nn.Linear(17, 3)), {nn.Linear}, dtype=torch.qint8
        ),
        make_batch=lambda size, device: (torch.randn(size, 16, device=device), None),
        loss=lambda outputs, _: outputs.sum(),
        make_optimizer=torch.optim.SGD,
    )
    counters, (doubt,) = count(workload, Cell(model="quantised", mode=Mode.TRAIN, batch_size=BATCH))
    assert (counters.parameters, counters.trainable_parameters) == (16 * 17 + 17 + 17 * 3 + 3, 0)
    assert counters.flops is None
    assert "nothing to train; add --mode infer" in str(dict(doubt.facts)["reason"])
