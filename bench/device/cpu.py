"""How much memory is free on a device right now."""

from __future__ import annotations

from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: str) -> int | None:
    """Read the free memory of a device, in bytes; None where the system does not tell.

    On the CPU what the kernel could hand out without swapping (MemAvailable), or what a container's limit leaves, if
    that is less. On CUDA what the driver calls free; asking creates this process's context, which is then not free.
    """
    target = torch.device(device)
    if target.type == "cuda":
        return int(torch.cuda.mem_get_info(target)[0])
    known = [size for size in (available_bytes(_MEMINFO), container_bytes(_CGROUP)) if size is not None]
    return min(known, default=None)


def available_bytes(meminfo: Path) -> int | None:
    """Read MemAvailable of a file like /proc/meminfo."""
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    sizes = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return sizes[0] if sizes else None


def container_bytes(cgroup: Path) -> int | None:
    """Read what a container's limit (cgroup 2) leaves; None where there is no limit."""
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
        cache = next(
            (
                int(line.split()[1])
                for line in (cgroup / "memory.stat").read_text().splitlines()
                if line.startswith("inactive_file ")
            ),
            0,
        )  # pages of files that the kernel gives up first
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - used + cache)
