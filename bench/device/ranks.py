"""One rank of several processes that train together: its group, its data, its part of the model.

    with joined("cuda:1") as ranks:                   # started by torch's elastic launcher, which sets RANK and so on
        with prepare(workload, cell, ranks=ranks) as step:
            step()

The backend is gloo on the CPU and NCCL on CUDA. What the measurement itself says between ranks (barriers, seconds) goes
through a gloo group of its own, never through the one that is measured.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch

from bench.core.cell import Cell, Mode, Parallel
from bench.core.record import joint_steps
from bench.device.backend import backend_of
from bench.device.settings import seed_all


class Ranks:
    """The group as one of its ranks sees it.

    Attributes:
        rank: Number of the process, from 0.
        world_size: How many there are.
        backend: `gloo` or `nccl`.
    """

    def __init__(self, rank: int, world_size: int, device: str, backend: str, group: Any) -> None:
        self.rank = rank
        self.world_size = world_size
        self.backend = backend
        self._device = torch.device(device)
        self._group = group

    def wait(self) -> None:
        """Wait until every rank is here, so that they start together."""
        torch.distributed.barrier(group=self._group)

    def agree(self, seconds: list[float]) -> list[float]:
        """Return the seconds of the same steps as all ranks took them (`joint_steps`): equal on every rank."""
        own = torch.tensor(seconds, dtype=torch.float64)
        every = [torch.empty_like(own) for _ in range(self.world_size)]
        torch.distributed.all_gather(every, own, group=self._group)
        return list(joint_steps([one.tolist() for one in every]))

    def seed_data(self, seed: int) -> None:
        """Seed what comes after the weights: every rank has the same weights, and a batch and dropout of its own."""
        seed_all(seed + self.rank)

    def share(self, model: torch.nn.Module, cell: Cell) -> torch.nn.Module:
        """Make the model one of several that train together, as the cell asks.

        DDP wraps it; in infer mode the copies have nothing to say to each other and are left alone. FSDP2 shards every
        block of `blocks_of`, then what is left, in place.
        """
        if cell.parallel is Parallel.FSDP2:
            from torch.distributed.device_mesh import init_device_mesh
            from torch.distributed.fsdp import fully_shard

            mesh = init_device_mesh(self._device.type, (self.world_size,))
            for block in blocks_of(model):
                fully_shard(block, mesh=mesh)
            fully_shard(model, mesh=mesh)
            return model
        if cell.mode is Mode.INFER:
            return model
        device_ids = backend_of(str(self._device)).ddp_devices()
        return torch.nn.parallel.DistributedDataParallel(model, device_ids=device_ids)


def blocks_of(model: torch.nn.Module) -> tuple[torch.nn.Module, ...]:
    """Choose what FSDP2 gathers and frees as one: the members of every list of layers, else the model's children.

    Lists inside a block belong to it. Modules without parameters are no blocks.
    """
    lists: list[torch.nn.Module] = []

    def search(module: torch.nn.Module) -> None:
        for child in module.children():
            if isinstance(child, torch.nn.ModuleList):
                lists.extend(child.children())
            else:
                search(child)

    search(model)
    blocks = lists or list(model.children())
    return tuple(block for block in dict.fromkeys(blocks) if any(True for _ in block.parameters()))


@contextlib.contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the group that the launcher's environment variables name, and leave it if all went well.

    After an error the group is left as it is: leaving it waits for ranks that may be gone.
    """
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    backend = backend_of(device)
    backend.join_group()
    group = torch.distributed.new_group(backend="gloo")
    yield Ranks(rank, world_size, device, backend.collective, group)
    torch.distributed.destroy_process_group()
