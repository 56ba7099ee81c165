"""No fork survives the start of CUDA: where there is a GPU, nothing that a server imports or an agent does starts it.

Simulated: torch is told that there are two GPUs, and every way to CUDA notes that it was taken.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

AS_WITH_GPUS = """
import torch
started = []
torch.cuda.device_count, torch.cuda.is_available = lambda: 2, lambda: True  # NVML tells both, without CUDA

def start(*_):
    started.append(1)
    raise RuntimeError("CUDA was started")

torch.cuda._lazy_init = torch._C._cuda_init = torch._C._cuda_getDeviceCount = start
try:
    {code}
except RuntimeError as error:
    assert "CUDA was started" in str(error), error
print(len(started))
"""

CODES = {
    "the server of cells": "import bench.runner.workers.preloaded, bench.runner.workers.ranks",
    "the server of bench ab": "from bench.runner.workers import arm; arm._preload()",
    "libraries of models": "import torchvision, timm",
    "the agent of two ranks": "from torch.distributed.launcher.api import LaunchConfig; LaunchConfig(1, 1, 2)",
}


def starts(code: str) -> int:
    """Run code in a fresh interpreter; return how often it would have started CUDA."""
    command = [sys.executable, "-c", AS_WITH_GPUS.replace("{code}", code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-800:]
    return int(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_nothing_starts_cuda_before_a_fork(code: str) -> None:
    assert starts(code) == 0


@pytest.mark.parametrize("code", ["torch.cuda.get_device_properties(0)", "torch.cuda.current_device()"])
def test_a_start_would_be_seen(code: str) -> None:
    """As of an import that looks at the GPU's capability."""
    assert starts(code) > 0
