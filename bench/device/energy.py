"""Meters of energy: NVML's counter of a GPU, RAPL's of a CPU; a reason in words where neither can be read.

NVML counts millijoules since the driver was loaded (Volta and newer) and moves about every 100 ms; RAPL counts
microjoules per CPU package and wraps around. Both count the whole device, whoever used it: the caller measures a window
of seconds on a device that does nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.device import cuda

_POWERCAP = Path("/sys/class/powercap")


class Meter(Protocol):
    """Counts the energy that a device has used."""

    @property
    def method(self) -> str:
        """Say what is read."""

    def read(self) -> tuple[float, ...]:
        """Read its counters, in joules; only differences mean something."""

    def between(self, before: tuple[float, ...], after: tuple[float, ...]) -> float:
        """Return the joules between two readings."""


@dataclass(frozen=True, slots=True)
class NvmlMeter:
    """The energy counter of one GPU."""

    uuid: str
    method: str = "NVML total energy of the whole GPU"

    def read(self) -> tuple[float, ...]:
        """Read the counter; NVML gives millijoules, and this is the one place that converts them."""
        millijoules = cuda.read_energy_millijoules(self.uuid)
        return () if millijoules is None else (millijoules / 1e3,)

    def between(self, before: tuple[float, ...], after: tuple[float, ...]) -> float:
        """Subtract; the counter never wraps while we look."""
        return after[0] - before[0]


@dataclass(frozen=True, slots=True)
class RaplMeter:
    """The energy counters of all CPU packages.

    Attributes:
        packages: Folders of the packages, each with `energy_uj` and `max_energy_range_uj`.
    """

    packages: tuple[Path, ...]
    method: str = "RAPL energy of all CPU packages"

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


def find_meter(device: str, gpu_uuid: str | None = None, powercap: Path = _POWERCAP) -> Meter | str:
    """Find the meter of a device, or say why there is none. Needs no torch and initialises nothing.

    Args:
        device: `cpu` or `cuda:N`.
        gpu_uuid: Of the CUDA device; NVML numbers devices differently.
        powercap: Where the kernel shows RAPL.
    """
    if device != "cpu":
        return _gpu_meter(gpu_uuid)
    packages = tuple(sorted(path for path in powercap.glob("intel-rapl:*") if _is_package(path)))
    if not packages:
        return "no RAPL counter: virtual machines and most containers show none"
    unreadable = [package for package in packages if not _is_readable(package)]
    if unreadable:
        return "RAPL's counters are readable by root only"
    return RaplMeter(packages)


def _gpu_meter(gpu_uuid: str | None) -> Meter | str:
    reason = cuda.unavailable_reason()
    if reason is not None:
        return f"no NVML: {reason}"
    if gpu_uuid is None:
        return "the GPU has no UUID to find it by in NVML"
    if cuda.read_energy_millijoules(gpu_uuid) is None:
        return "this GPU has no energy counter (older than Volta, or an instance of a MIG)"
    return NvmlMeter(gpu_uuid)


def _is_package(path: Path) -> bool:
    """Tell a package (`intel-rapl:0`) from its parts (`intel-rapl:0:1`) and from others (`psys` holds packages)."""
    name = path / "name"
    return path.name.count(":") == 1 and name.is_file() and name.read_text().startswith("package")


def _is_readable(package: Path) -> bool:
    try:
        (package / "energy_uj").read_text()
    except OSError:
        return False
    return True
