"""The CPU, and what the system tells of this process and this machine. The only file that reads `/proc` and `/sys`.

Figures come through psutil where it knows them, so they are there on macOS too. What a system does not tell is None.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from bench.core.precision import Arithmetic
from bench.device.backend import Backend
from bench.device.readings import Meter

if TYPE_CHECKING:
    import torch

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")
_CPU0 = Path("/sys/devices/system/cpu/cpu0")
_POWERCAP = Path("/sys/class/powercap")
_CLEAR_PEAK = "5"  # written to clear_refs: the peak starts again from what is resident now (Linux 4.0)
_Found = TypeVar("_Found")


class CpuBackend(Backend):
    """The processor: a call returns when its work is done, and its memory is the process's."""

    kind = "cpu"
    label = "CPU"
    unit = "CPU"
    is_asynchronous = False
    out_of_memory_words = ("can't allocate memory",)
    missing_kernel_words = ("could not create a primitive", "mkldnn_bf16", "bf16 path needs the cpu support")
    arithmetics = MappingProxyType(
        {
            Arithmetic.FP32: None,
            Arithmetic.BF16: None,
            Arithmetic.FP16: None,
            Arithmetic.FP64: None,
            Arithmetic.TF32: "is a mode of CUDA matrix units; a CPU computes fp32 in full",
            Arithmetic.FP8: "is for the matrix units of GPUs",
        }
    )

    @property
    def device(self) -> str:
        """Name of the device; there is one CPU."""
        return self.kind

    def sibling(self, offset: int) -> Backend:
        """Return the same CPU: all ranks share it."""
        return self

    @classmethod
    def count(cls) -> int:
        """Count one."""
        return 1

    def why_not_ranks(self, ranks: int) -> str | None:
        """Return None: any number of ranks may share the CPU."""
        return None

    def synchronize(self) -> None:
        """Return at once: there is nothing to wait for."""

    def mark(self, used: Any = None) -> int:
        """Read the host's clock, in nanoseconds."""
        return time.perf_counter_ns()

    def seconds_between(self, start: int, end: int) -> float:
        """Return the seconds between two readings of the host's clock."""
        return (end - start) / 1e9

    def cache_bytes(self) -> int | None:
        """Return the size of the largest cache."""
        return last_level_cache_bytes() or None

    def free_bytes(self) -> int | None:
        """Read what the kernel could hand out without swapping, or what a container's limit leaves, if that is less."""
        known = [size for size in (available_bytes(), container_bytes(_CGROUP)) if size is not None]
        return min(known, default=None)

    def find_meter(self, uuid: str | None = None, powercap: Path = _POWERCAP) -> Meter | str:
        """Find RAPL's counters, or return why there are none."""
        packages = tuple(sorted(path for path in powercap.glob("intel-rapl:*") if _is_package(path)))
        if not packages:
            return "no RAPL counter: virtual machines and most containers show none"
        if not all(_is_readable(package) for package in packages):
            return "RAPL's counters are readable by root only"
        return RaplMeter(packages)

    def random_state(self) -> torch.Tensor | None:
        """Return None: torch's own generator is saved with the CPU's."""
        return None

    def set_random_state(self, state: torch.Tensor) -> None:
        """Restore the state of torch's own generator."""
        import torch

        torch.set_rng_state(state)


@dataclass(frozen=True, slots=True)
class RaplMeter:
    """The energy counters of all CPU packages. RAPL counts microjoules, whoever used them, and wraps around.

    Attributes:
        packages: Folders of the packages, each with `energy_uj` and `max_energy_range_uj`.
    """

    packages: tuple[Path, ...]
    method: str = "RAPL energy of all CPU packages"

    def opened(self) -> contextlib.AbstractContextManager[Any]:
        """Files need not be kept open."""
        return contextlib.nullcontext()

    def watts(self) -> float | None:
        """RAPL counts energy only."""
        return None

    def read(self) -> tuple[float, ...]:
        """Read the counters; the kernel gives microjoules."""
        return tuple(int((package / "energy_uj").read_text()) / 1e6 for package in self.packages)

    def between(self, before: tuple[float, ...], after: tuple[float, ...]) -> float:
        """Sum the differences; a counter that is smaller than before has wrapped around once."""
        joules = 0.0
        for package, start, end in zip(self.packages, before, after, strict=True):
            wrap = int((package / "max_energy_range_uj").read_text()) / 1e6 if end < start else 0.0
            joules += end - start + wrap
        return joules


# The processor.


def usable_cores() -> int:
    """Count the cores that this process may use; all of them where the system knows no affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name(proc: Path = _PROC) -> str:
    """Read the processor's name as its maker gives it, or else its architecture."""
    for line in _lines(proc / "cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    try:  # macOS; there `platform` knows only "arm", by which one chip would pass for another
        asked = subprocess.run(
            ("sysctl", "-n", "machdep.cpu.brand_string"), capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return platform.processor() or platform.machine()
    return asked.stdout.strip() or platform.processor() or platform.machine()


def cpu_mhz() -> float | None:
    """Read the current frequency of the first core; None if the kernel does not tell (virtual machines)."""
    path = _CPU0 / "cpufreq" / "scaling_cur_freq"
    return int(path.read_text()) / 1e3 if path.exists() else None  # the file holds kHz


def last_level_cache_bytes(caches: Path = _CPU0 / "cache") -> int:
    """Read the size of the CPU's largest cache from the kernel; 0 if it does not tell."""
    sizes = []
    for path in caches.glob("index*/size"):
        text = path.read_text().strip()
        sizes.append(int(text[:-1]) * {"K": 2**10, "M": 2**20}[text[-1]] if text[-1:] in "KM" else int(text))
    return max(sizes, default=0)


def call_c(name: str, *arguments: int) -> int | None:
    """Call a function of the C library; None where it has none of that name."""
    function = _c_function(name)
    return None if function is None else int(function(*arguments))


def untold() -> tuple[str, ...]:
    """Name what this system does not tell, then what that means for a measurement; Linux tells all of it."""
    found = []
    if not hasattr(os, "sched_getaffinity"):
        found.append("which cores this process may use: all are counted")
    if read_counters().busy_seconds is None:
        found.append("what other processes do: a busy machine is not doubted")
    if available_bytes() is None:
        found.append("how much memory is free: whether a model fits is not known before it runs")
    if not os.access(_PROC / "self" / "clear_refs", os.W_OK):
        found.append("the memory of a step: the peak of its process since the start stands for it")
    if _c_function("mallopt") is None:
        found.append("what the allocator keeps: freed memory may count as used")
    if not _lines(_PROC / "vmstat") and not _group_files(_PROC / "self" / "cgroup", _CGROUP):
        found.append("what it kills when memory runs out: such a cell is `killed`, not `out of memory`")
    return tuple(found)


@functools.cache
def _c_function(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None


# Load.


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Raw counters of the machine at one moment; None if the system does not tell.

    Attributes:
        busy_seconds: CPU time of all cores spent working, since the start of the machine.
        steal_seconds: CPU time that the hypervisor took away; None where it is not counted.
        total_seconds: CPU time of all cores, idle included.
        own_seconds: CPU time of this process and of its children that ended, as the workers of a loader.
        involuntary_switches: Times this process was preempted.
        throttled_seconds: For how long an accelerator's clock was lowered, by reason, where its driver counts that.
        at_seconds: On the host's clock.
    """

    busy_seconds: float | None
    steal_seconds: float | None
    total_seconds: float | None
    own_seconds: float
    involuntary_switches: int
    throttled_seconds: Sequence[tuple[str, float]] = ()
    at_seconds: float = 0.0

    def plus(self, begun: Reading, ended: Reading) -> Reading:
        """Add what passed between two other readings."""

        def add(name: str) -> Any:
            own, begin, end = (getattr(one, name) for one in (self, begun, ended))
            return None if None in (own, begin, end) else own + (end - begin)  # exactly its own where nothing passed

        begin, end = dict(begun.throttled_seconds), dict(ended.throttled_seconds)
        both = begin.keys() & end
        throttled = tuple((name, s + (end[name] - begin[name])) for name, s in self.throttled_seconds if name in both)
        names = [field.name for field in fields(self) if field.name != "throttled_seconds"]
        return Reading(throttled_seconds=throttled, **{name: add(name) for name in names})


def read_counters() -> Reading:
    """Read the kernel's counters; call before and after what is measured, never inside."""
    fields = _known(_cpu_times)
    usage, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    busy = steal = total = None
    if fields is not None:
        waiting = sum(fields.get(name, 0.0) for name in ("idle", "iowait"))
        steal = fields.get("steal")
        busy = sum(fields.get(name, 0.0) for name in ("user", "nice", "system", "irq", "softirq"))
        total = busy + waiting + (steal or 0.0)
    return Reading(
        busy_seconds=busy,
        steal_seconds=steal,
        total_seconds=total,
        own_seconds=usage.ru_utime + usage.ru_stime + children.ru_utime + children.ru_stime,
        involuntary_switches=usage.ru_nivcsw,
    )


# Memory.


def memory_bytes() -> int:
    """Read the size of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def available_bytes() -> int | None:
    """Read what the kernel could hand out without swapping."""
    memory = _known(lambda: _psutil().virtual_memory())
    return None if memory is None else int(memory.available)


def container_bytes(cgroup: Path) -> int | None:
    """Read what a container's limit (cgroup 2) leaves; None if there is no limit."""
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


def resident_bytes() -> int | None:
    """Read the resident set of this process."""
    memory = _known(lambda: _psutil().Process().memory_info())
    return None if memory is None else int(memory.rss)


def clear_peak() -> bool:
    """Let the peak of the resident set start again from what is resident now; False where the kernel cannot."""
    with contextlib.suppress(OSError):
        (_PROC / "self" / "clear_refs").write_text(_CLEAR_PEAK)
        return True
    return False


def peak_resident_bytes() -> int:
    """Read the highest resident set since the peak was cleared, or since the start where it cannot be."""
    for line in _lines(_PROC / "self" / "status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def oom_kills(proc: Path = _PROC, cgroup: Path = _CGROUP) -> int:
    """Count the kernel's out-of-memory kills so far: of this process's control group, else of the machine.

    Only the difference of two readings means something; 0 where the kernel does not count.

    Args:
        proc: Where `self/cgroup` and `vmstat` are.
        cgroup: Where control groups are mounted.
    """
    for path in (*_group_files(proc / "self" / "cgroup", cgroup), proc / "vmstat"):
        counts = [int(line.split()[1]) for line in _lines(path) if line.startswith("oom_kill ")]
        if counts:
            return counts[0]
    return 0


def path_of_descriptor(descriptor: int) -> str | None:
    """Return a path by which another process opens a file of this one that has no name; None if there is none."""
    path = _PROC / str(os.getpid()) / "fd" / str(descriptor)
    return str(path) if path.exists() else None


def _group_files(membership: Path, cgroup: Path) -> tuple[Path, ...]:
    """Find the files of this process's own group: version 2 has one tree, version 1 one per controller."""
    files: list[Path] = []
    for line in _lines(membership):
        hierarchy, controllers, place = line.split(":", 2)
        below = place.lstrip("/")
        if hierarchy == "0":
            # Inside a container the tree is often mounted at its own group, and the path is that of the host.
            files += [cgroup / below / "memory.events", cgroup / "memory.events"]
        elif "memory" in controllers.split(","):
            files += [cgroup / "memory" / below / "memory.oom_control", cgroup / "memory" / "memory.oom_control"]
    return tuple(files)


def _known(read: Callable[[], _Found]) -> _Found | None:
    """Ask psutil; None if this system does not tell."""
    try:
        return read()
    except _refusals():
        return None


def _refusals() -> tuple[type[Exception], ...]:
    """Return what psutil raises where a system does not tell, or shows a process less than it needs."""
    known = (OSError, ImportError, AttributeError, NotImplementedError)
    try:
        return (*known, _psutil().Error)
    except ImportError:
        return known


def _psutil() -> Any:
    import psutil  # in a function: `--base-python` may be an interpreter that lacks it

    return psutil


def _cpu_times() -> dict[str, float]:
    """Read the CPU time of all cores by what it went to, in seconds; from the kernel itself if psutil is not there."""
    try:
        found: dict[str, float] = _psutil().cpu_times()._asdict()
    except ImportError:
        names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        line = (_PROC / "stat").read_text().split("\n", 1)[0]
        ticks = os.sysconf("SC_CLK_TCK")
        return {name: int(field) / ticks for name, field in zip(names, line.split()[1:9], strict=True)}
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _is_package(path: Path) -> bool:
    """Whether a counter is a package (`intel-rapl:0`), not a part (`intel-rapl:0:1`) nor `psys`, which holds them."""
    name = path / "name"
    return path.name.count(":") == 1 and name.is_file() and name.read_text().startswith("package")


def _is_readable(package: Path) -> bool:
    try:
        (package / "energy_uj").read_text()
    except OSError:
        return False
    return True
