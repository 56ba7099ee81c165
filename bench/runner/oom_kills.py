"""How often the kernel has killed for lack of memory: it tells its SIGKILL from anybody else's."""

from __future__ import annotations

from pathlib import Path


def oom_kills(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Count the kernel's out-of-memory kills so far: of this process's control group, else of the machine.

    Only the difference of two readings means something; 0 where the kernel does not count.

    Args:
        proc: Where `self/cgroup` and `vmstat` are.
        cgroup: Where control groups are mounted.
    """
    for path in (*_group_files(proc / "self" / "cgroup", cgroup), proc / "vmstat"):
        count = _read_count(path)
        if count is not None:
            return count
    return 0


def _group_files(membership: Path, cgroup: Path) -> tuple[Path, ...]:
    """Find the files of this process's own group: version 2 has one tree, version 1 one per controller."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return ()
    files = []
    for line in lines:
        hierarchy, controllers, place = line.split(":", 2)
        below = place.lstrip("/")
        if hierarchy == "0":
            # Inside a container the tree is often mounted at its own group, and the path is that of the host.
            files += [cgroup / below / "memory.events", cgroup / "memory.events"]
        elif "memory" in controllers.split(","):
            files += [cgroup / "memory" / below / "memory.oom_control", cgroup / "memory" / "memory.oom_control"]
    return tuple(files)


def _read_count(path: Path) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    counts = [int(line.split()[1]) for line in lines if line.startswith("oom_kill ")]
    return counts[0] if counts else None
