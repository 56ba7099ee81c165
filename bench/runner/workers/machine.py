"""What `bench machine` runs in other processes: a look at the machine, and a model that does nothing.

The look imports torch and little else, because somebody waits for the answer. What remains of measuring that model is
the cost of measuring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.core.cell import Precision
from bench.core.errors import UsageError
from bench.core.workload import Batch, Workload
from bench.device.backend import all_devices, backend_of, counters_problem, why_not
from bench.device.environment import read_environment
from bench.runner.workers.answers import Examination

if TYPE_CHECKING:
    import torch


def examine() -> Examination:
    """Read the environment of each device, and what it can compute in."""
    devices, problems = [], []
    for device in all_devices():
        try:
            backend_of(device).start()
        except UsageError as error:
            problems.append(str(error))
        else:
            devices.append(device)
    environments = tuple(read_environment(device) for device in devices)
    return Examination(
        environments=environments,
        precisions=tuple((device, p.value, why_not(device, p)) for device in devices for p in Precision),
        nvml=counters_problem(),
        states=tuple(
            backend_of(device).state(found.gpu_uuid) for device, found in zip(devices, environments, strict=True)
        ),
        problems=tuple(problems),
    )


def workload() -> Workload:
    """Make the model that does nothing: one weight, and one number per example."""
    import torch

    def make_batch(batch_size: int, device: str | torch.device) -> Batch:
        return (torch.ones(batch_size, 1, device=device),), torch.ones(batch_size, 1, device=device)

    return Workload(
        build_model=lambda: torch.nn.Linear(1, 1, bias=False),
        make_batch=make_batch,
        loss=lambda outputs, _: outputs.mean(),
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0),
    )
