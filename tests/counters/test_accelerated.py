"""What an accelerator keeps for backward, predicted: attention and dropout as its fused kernels run them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from bench.core.cell import Cell, Precision
from bench.core.record import Counters
from bench.core.workload import Workload
from bench.counters.fakes import AcceleratedMode
from bench.counters.memory import predict
from bench.counters.static import count
from tests.counters.small import count_operations

MIB = 2**20
BATCH, HEADS, TIME, HEAD = 8, 8, 2048, 64


class Attention(nn.Module):
    def __init__(self, dropout: float, has_mask: bool = False) -> None:
        super().__init__()
        self.dropout, self.has_mask = dropout, has_mask
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = torch.ones(TIME, TIME, dtype=torch.bool).tril() if self.has_mask else None
        x = x * self.scale
        return nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask, dropout_p=self.dropout)


class Dropped(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.first, self.drop = nn.Linear(1024, 1024), nn.Dropout(p)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.first(x))


def work(model: nn.Module, shape: tuple[int, ...]) -> Workload:
    def make_batch(batch_size: int, device: Any) -> Any:
        return (torch.rand(batch_size, *shape, device=device),), torch.rand(batch_size, *shape, device=device)

    return Workload(
        name="net",
        build_model=lambda: model,
        make_batch=make_batch,
        loss=lambda outputs, _: outputs.float().sum(),
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )


def peak(model: nn.Module, shape: tuple[int, ...], device: str, precision: Precision = Precision.FP32) -> int:
    cell = Cell(model="net", batch_size=BATCH, device=device, precision=precision)
    return predict(work(model, shape), cell).total_bytes


@pytest.mark.parametrize(
    ("precision", "kernel"),
    [(Precision.FP32, "efficient"), (Precision.BF16_AMP, "flash"), (Precision.BF16, "flash")],
)
def test_attention_takes_the_kernel_of_its_arithmetic(precision: Precision, kernel: str) -> None:
    """Under autocast of half precision, too, whose lists these operations do not stand in."""
    cell = Cell(model="net", batch_size=2, device="cuda:0", precision=precision)
    counted = count_operations(work(Attention(0.1), (2, 8, HEAD)), cell)
    assert f"aten._scaled_dot_product_{kernel}_attention.default" in dict(counted.dispatches)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16_AMP, Precision.BF16])
def test_attention_with_dropout_keeps_no_matrix_of_scores_on_a_gpu(precision: Precision) -> None:
    shape = (HEADS, TIME, HEAD)
    plain, dropped = (peak(Attention(p), shape, "cuda:0", precision) for p in (0.0, 0.1))
    assert dropped == pytest.approx(plain, rel=0.05)
    assert dropped < BATCH * HEADS * TIME * TIME  # a byte for each score alone would be 256 MiB, the CPU keeps 16
    assert peak(Attention(0.1), shape, "cpu", precision) > 4 * dropped


def test_attention_with_a_mask_takes_the_memory_efficient_kernel() -> None:
    found = peak(Attention(0.1, has_mask=True), (HEADS, TIME, HEAD), "cuda:0")
    assert found < BATCH * HEADS * TIME * TIME * 4 / 2


def test_a_mask_of_dropout_is_a_byte_per_value_on_a_gpu() -> None:
    shape = (2048, 1024)
    plain, dropped = (peak(Dropped(p), shape, "cuda:0") for p in (0.0, 0.5))
    values = BATCH * 2048 * 1024
    assert values <= dropped - plain <= 5 * values  # the mask, and the output beside its input
    assert peak(Dropped(0.5), shape, "cpu") - peak(Dropped(0.0), shape, "cpu") > dropped - plain


def test_outside_training_dropout_does_nothing() -> None:
    model = nn.Dropout(0.5).eval()
    x = torch.ones(3)
    with AcceleratedMode():
        assert torch.equal(model(x), x)


class Reading(nn.Module):
    """Reads a value, which fake tensors lack: such a step is predicted on real ones."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.inner(x)
        return outputs if outputs.sum().item() > -math.inf else -outputs


def counted(make: Callable[[], nn.Module], shape: tuple[int, ...], device: str) -> Counters:
    workload = replace(work(nn.Identity(), shape), build_model=lambda: Reading(make()))
    counters, _ = count(workload, Cell(model="net", batch_size=2, device=device), opinions=False)
    assert counters.flops is not None
    assert "real cpu" in counters.flops.method
    return counters


def test_a_model_that_reads_values_keeps_no_scores_on_a_gpu_either() -> None:
    shape = (4, 512, HEAD)
    scores = 2 * 4 * 512 * 512 * 4
    found = {
        (device, p): counted(lambda p=p: Attention(p), shape, device).predicted_peak  # type: ignore[misc]
        for device in ("cpu", "cuda:0")
        for p in (0.0, 0.1)
    }
    total = {key: peak.total_bytes for key, peak in found.items() if peak is not None}
    assert total["cuda:0", 0.1] == total["cuda:0", 0.0] < scores
    assert total["cpu", 0.1] > total["cuda:0", 0.1] + scores


def test_a_model_that_reads_values_has_a_gpus_dropout_and_optimizer() -> None:
    """A mask of a byte per value, and updates of all parameters at once."""
    names = {
        device: set(dict(counted(lambda: Dropped(0.5), (64, 1024), device).dispatches)) for device in ("cpu", "cuda:0")
    }
    for name in ("aten.native_dropout.default", "aten._foreach_add_.List"):
        assert (name in names["cuda:0"], name in names["cpu"]) == (True, False)


def test_a_model_that_reads_values_still_computes_with_its_attention() -> None:
    x = torch.rand(2, 4, 8, HEAD)
    with AcceleratedMode(is_real=True):
        found = nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=0.5)
    torch.testing.assert_close(found, nn.functional.scaled_dot_product_attention(x, x, x))
