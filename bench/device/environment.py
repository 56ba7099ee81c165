"""Read the machine: hard facts once per run, soft state around each cell.

Only the hard facts need torch, which is imported when they are read.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import platform
import socket
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.core import __version__
from bench.core.environment import SHARED_LOAD, Environment, MachineState
from bench.core.errors import BenchError
from bench.core.git import git
from bench.device.backend import backend_of
from bench.device.cpu import Reading, cpu_mhz, cpu_name, memory_bytes, read_counters, usable_cores
from bench.device.readings import Glance

_MALLOC_VARIABLES = ("LD_PRELOAD", "GLIBC_TUNABLES", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
_KERNEL_PREFIXES = (
    "ONEDNN_",
    "DNNL_",
    "MKL_",
    "KMP_",
    "OMP_",
    "GOMP_",
    "TORCH_MKLDNN_",
    "TORCH_CUBLAS",  # also TORCH_CUBLASLT_*
    "TORCH_CUDNN_",
    "CUBLAS_",
    "CUBLASLT_",
    "CUDNN_",
    "NCCL_",
    "PYTORCH_MPS_",
)
_KERNEL_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
_SAID_ELSEWHERE = ("OMP_NUM_THREADS",)  # `threads` holds what came of it
_ISA_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")


def read_environment(device: str = "cpu") -> Environment:
    """Read hardware, software and settings, and what the device's backend knows of it (which starts its runtime).

    Args:
        device: Full name; its GPU stands in the environment.
    """
    import torch

    from bench.device.settings import read_flags

    commit, is_dirty = _git_state(Path.cwd())
    return Environment(
        host=socket.gethostname(),
        os=f"{platform.system()} {platform.release()}",
        cpu=cpu_name(),
        cores=usable_cores(),
        memory_bytes=memory_bytes(),
        python=platform.python_version(),
        torch=str(torch.__version__),  # a TorchVersion would make the parent import torch to read it
        torchvision=_version("torchvision"),
        stepbench=__version__,
        threads=torch.get_num_threads(),
        interop_threads=torch.get_num_interop_threads(),
        instruction_set=_instruction_set(),
        variables=_variables(_KERNEL_PREFIXES, _KERNEL_VARIABLES),
        malloc=_variables(("MALLOC_",), _MALLOC_VARIABLES),
        flags=tuple(sorted(read_flags().items())),
        git_commit=commit,
        git_dirty=is_dirty,
        **backend_of(device).facts(),
    )


_LOAD_MEMORY_SECONDS = 1.2


def load_of_others(
    device: str,
    gpu_uuid: str | None,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float | None:
    """Read the load of a device that this process does not use yet; None if unavailable.

    The driver's figure covers up to a second, in which a cell before this one may still have worked: it has to fall.
    """
    backend, started = backend_of(device), now()
    with backend.opened():
        load = backend.load(gpu_uuid)
        while load is not None and load > SHARED_LOAD and now() - started < _LOAD_MEMORY_SECONDS:
            sleep(0.1)
            load = backend.load(gpu_uuid)
    return load


THROTTLED_SHARE = 0.05
"""A clock that is lowered for a smaller share of the time than this moves a median by less than noise does."""


def read_machine(device: str, gpu_uuid: str | None) -> Reading:
    """Read the kernel's counters and a device's of throttling; before and after what is measured, never inside."""
    throttled = tuple(backend_of(device).throttled_seconds(gpu_uuid).items())
    return replace(read_counters(), throttled_seconds=throttled, at_seconds=time.perf_counter())


def state_between(
    before: Reading,
    after: Reading,
    device: str = "cpu",
    gpu_uuid: str | None = None,
    glances: Sequence[Glance] = (),
    load_before: float | None = None,
) -> MachineState:
    """Derive the soft state of the machine between two readings, and that of a device.

    Args:
        before: As the window began.
        after: As it ended.
        device: Full name.
        gpu_uuid: Name of the GPU for its driver.
        glances: Taken while the device worked. When it is asked after them it idles, at another clock and power.
        load_before: Of the device before this process used it.

    Returns:
        `other_busy_cores` is None if the readings are less than 0.1 s apart, as the kernel counts 10 ms at a time, or
        if the system does not count.
    """
    cores = os.cpu_count() or 1
    others = steal = None
    total = _difference(before.total_seconds, after.total_seconds)
    busy = _difference(before.busy_seconds, after.busy_seconds)
    if total is not None and busy is not None and total >= 0.1 * cores:
        others = max(0.0, (busy - (after.own_seconds - before.own_seconds)) / total * cores)
        stolen = _difference(before.steal_seconds, after.steal_seconds)
        steal = None if stolen is None else stolen / total
    return MachineState(
        load_1m=os.getloadavg()[0],
        other_busy_cores=others,
        steal_fraction=steal,
        involuntary_switches=after.involuntary_switches - before.involuntary_switches,
        cpu_mhz=cpu_mhz(),
        **{**backend_of(device).state(gpu_uuid), **_while_working(before, after, glances)},
        gpu_load_before=load_before,
    )


LOOK_SECONDS = 0.5


def look() -> MachineState:
    """Read how busy the machine is while this process only sleeps."""
    before = read_counters()
    time.sleep(LOOK_SECONDS)
    return state_between(before, read_counters())


_OF_THE_WORK = ("gpu_clock_mhz", "gpu_power_watts", "gpu_throttled", "gpu_throttle_reasons")


def _while_working(before: Reading, after: Reading, glances: Sequence[Glance]) -> dict[str, Any]:
    """Derive clock, power and throttling over a window, as far as they are told: counters first, then glances.

    None if not seen: what a look afterwards says of them is an idle device's.
    """
    found: dict[str, Any] = dict.fromkeys(_OF_THE_WORK)
    clocks = [glance.clock_mhz for glance in glances if glance.clock_mhz is not None]
    watts = [glance.power_watts for glance in glances if glance.power_watts is not None]
    if clocks:
        found["gpu_clock_mhz"] = statistics.median(clocks)
    if watts:
        found["gpu_power_watts"] = statistics.fmean(watts)
    seen = [glance.throttle_reasons for glance in glances if glance.throttle_reasons is not None]
    shares = {reason: count / len(seen) for reason, count in Counter(itertools.chain(*seen)).items()}
    earlier, seconds = dict(before.throttled_seconds), after.at_seconds - before.at_seconds
    if seconds > 0:
        counted = {
            reason: (at - earlier[reason]) / seconds for reason, at in after.throttled_seconds if reason in earlier
        }
        shares |= {reason: min(1.0, max(0.0, share)) for reason, share in counted.items()}
    if seen or (earlier and seconds > 0):
        found["gpu_throttled"] = tuple(sorted((reason, share) for reason, share in shares.items() if share > 0))
        found["gpu_throttle_reasons"] = tuple(reason for reason, s in found["gpu_throttled"] if s >= THROTTLED_SHARE)
    return found


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _instruction_set() -> str:
    import torch

    limit = next((os.environ[name] for name in _ISA_LIMITS if os.environ.get(name)), None)
    own = torch.backends.cpu.get_cpu_capability()
    return own if limit is None else f"{own}, oneDNN at most {limit.upper()}"


def _variables(prefixes: tuple[str, ...], names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, value)
        for name, value in sorted(os.environ.items())
        if (name.startswith(prefixes) or name in names) and name not in _SAID_ELSEWHERE
    )


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Read the commit of a folder and whether tracked files differ from it; (None, None) outside a repository."""
    try:
        commit = git(folder, "rev-parse", "HEAD", timeout_seconds=10)
        return commit, bool(git(folder, "status", "--porcelain", "--untracked-files=no", timeout_seconds=10))
    except BenchError:
        return None, None
