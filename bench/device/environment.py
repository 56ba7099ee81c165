"""Read the machine: hard facts once per run, soft state around each cell."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.core.environment import Environment, MachineState
from bench.core.version import __version__
from bench.device import cuda

_MALLOC_VARIABLES = ("LD_PRELOAD", "GLIBC_TUNABLES", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")


def read_environment(device: str = "cpu") -> Environment:
    """Read hardware, software and settings; with a CUDA device also its GPU (initialises CUDA then).

    Args:
        device: `cpu` or `cuda:N`; whose GPU stands in the environment.
    """
    gpu = torch.cuda.get_device_properties(device) if torch.device(device).type == "cuda" else None
    commit, is_dirty = _git_state(Path.cwd())
    return Environment(
        host=socket.gethostname(),
        os=f"{platform.system()} {platform.release()}",
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpu=gpu.name if gpu else None,
        gpu_memory_bytes=gpu.total_memory if gpu else None,
        gpu_uuid=str(gpu.uuid) if gpu else None,
        driver=cuda.driver_version(),
        cuda=torch.version.cuda if gpu else None,
        cudnn=str(torch.backends.cudnn.version()) if gpu else None,  # type: ignore[no-untyped-call]
        python=platform.python_version(),
        torch=str(torch.__version__),  # a TorchVersion would make the parent import torch to read it
        torchvision=_version("torchvision"),
        stepbench=__version__,
        threads=torch.get_num_threads(),
        interop_threads=torch.get_num_interop_threads(),
        malloc=tuple(
            (name, value)
            for name, value in sorted(os.environ.items())
            if name.startswith("MALLOC_") or name in _MALLOC_VARIABLES
        ),
        flags=_flags(),
        git_commit=commit,
        git_dirty=is_dirty,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Raw counters of the machine at one moment; two of them make a MachineState."""

    busy_ticks: int
    steal_ticks: int
    total_ticks: int
    own_ticks: float
    involuntary_switches: int


def read_counters() -> Reading:
    """Read the kernel's counters; call before and after what is measured, never inside."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, idle, iowait, irq, softirq, steal = fields
    usage = resource.getrusage(resource.RUSAGE_SELF)
    ticks_per_second = os.sysconf("SC_CLK_TCK")
    return Reading(
        busy_ticks=user + nice + system + irq + softirq,
        steal_ticks=steal,
        total_ticks=user + nice + system + idle + iowait + irq + softirq + steal,
        own_ticks=(usage.ru_utime + usage.ru_stime) * ticks_per_second,
        involuntary_switches=usage.ru_nivcsw,
    )


def state_between(before: Reading, after: Reading, gpu_uuid: str | None = None) -> MachineState:
    """Derive the soft state of the machine between two readings.

    Returns:
        `other_busy_cores` is None when the readings are less than 0.1 s apart: ticks are too coarse then.
    """
    total = after.total_ticks - before.total_ticks
    cores = os.cpu_count() or 1
    is_long_enough = total >= 10 * cores  # a tick is 10 ms
    others = (after.busy_ticks - before.busy_ticks) - (after.own_ticks - before.own_ticks)
    gpu = cuda.read_state(gpu_uuid) if gpu_uuid else None
    return MachineState(
        load_1m=os.getloadavg()[0],
        other_busy_cores=max(0.0, others / total * cores) if is_long_enough else None,
        steal_fraction=(after.steal_ticks - before.steal_ticks) / total if is_long_enough else None,
        involuntary_switches=after.involuntary_switches - before.involuntary_switches,
        cpu_mhz=_cpu_mhz(),
        gpu_clock_mhz=gpu.clock_mhz if gpu else None,
        gpu_temperature_celsius=gpu.temperature_celsius if gpu else None,
        gpu_throttle_reasons=gpu.throttle_reasons if gpu else (),
        gpu_other_processes=gpu.other_processes if gpu else None,
        gpu_max_clock_mhz=gpu.max_clock_mhz if gpu else None,
        gpu_memory_clock_mhz=gpu.memory_clock_mhz if gpu else None,
        gpu_power_watts=gpu.power_watts if gpu else None,
        gpu_power_limit_watts=gpu.power_limit_watts if gpu else None,
    )


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _cpu_mhz() -> float | None:
    """Read the current frequency of the first core; None where the kernel does not tell (virtual machines)."""
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    return int(path.read_text()) / 1e3 if path.exists() else None  # the file holds kHz


def _flags() -> tuple[tuple[str, str], ...]:
    flags = {
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "cudnn.deterministic": torch.backends.cudnn.deterministic,
        "cudnn.enabled": torch.backends.cudnn.enabled,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "mkldnn.enabled": torch.backends.mkldnn.enabled,
    }
    return tuple((name, str(value)) for name, value in sorted(flags.items()))


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Read the commit of a folder and whether tracked files differ from it; (None, None) outside a repository."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit, bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
