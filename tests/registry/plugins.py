"""What a plugin's entry point may point at."""

from __future__ import annotations

import torch

from bench.core.workload import Workload

NUMBER = 7


def make() -> Workload:
    return Workload(
        build_model=lambda: torch.nn.Linear(3, 1),
        make_batch=lambda batch_size, device: ((torch.randn(batch_size, 3, device=device),), None),
        loss=lambda outputs, _targets: outputs.sum(),
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        source_file=__file__,
    )


workload = make()
