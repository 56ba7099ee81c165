"""Gradient accumulation of ranks: they exchange gradients with the last batch of a step only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bench.device.step import LongStep


@pytest.fixture
def group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("accumulate", [1, 3])
def test_ddp_exchanges_gradients_once_a_step(accumulate: int) -> None:
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Linear(4, 2))
    exchanged: list[torch.Tensor] = []

    def hook(_, bucket):  # type: ignore[no-untyped-def]  # DDP reads annotations and refuses texts
        exchanged.append(bucket.buffer().clone())
        future: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    model.register_comm_hook(None, hook)
    x = torch.randn(5, 4)
    weights = nn.Linear(4, 2)
    weights.load_state_dict(model.module.state_dict())
    weights(x).square().mean().backward()
    step = LongStep(
        model=model,
        batch=((x,), None),
        loss=lambda outputs, _: outputs.square().mean(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.0),
        accumulate=accumulate,
    )
    for _ in range(2):
        exchanged.clear()
        step()
        (together,) = exchanged  # of all batches: the mean of equal ones is each
        expected = torch.cat([weights.weight.grad.flatten(), weights.bias.grad])
        torch.testing.assert_close(together.sort().values, expected.sort().values)
