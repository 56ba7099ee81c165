"""Where something was measured: the hard facts that make measurements comparable, and the soft state beside them."""

from __future__ import annotations

from dataclasses import dataclass, fields

from bench.core.cell import short_hash
from bench.core.jsonio import shared, to_json

_NOT_IN_FINGERPRINT = frozenset({"host", "git_commit", "git_dirty", "stepbench", "gpu_uuid"})

LOCKED = "locked_clock"
"""Setting of a GPU whose clock we locked."""

_LATER = frozenset({"gpu_settings", "instruction_set", "variables"})


@shared
@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Hardware, software and settings of the machine; never a measured speed.

    Attributes:
        cores: Cores this process may use (its affinity), not those of the host.
        gpu_settings: Settings of the GPU that decide its speed (power limit, clocks, ECC, MIG), name and value; None
            if unavailable.
        instruction_set: Widest vector instructions that torch's own kernels use, with oneDNN's limit if one is set.
        variables: Environment variables that choose kernels or how they run (`ONEDNN_*`, `MKL_*`, ...), name and value.
        malloc: Allocator settings from the environment (`MALLOC_*`, `GLIBC_TUNABLES`, `LD_PRELOAD`), name and value.
        flags: torch's global switches at the start of the run, name and value, sorted.
        git_commit: Commit of the working directory the run was started in; None outside a repository.
    """

    host: str
    os: str
    cpu: str
    cores: int
    memory_bytes: int
    gpu: str | None = None
    gpu_memory_bytes: int | None = None
    gpu_uuid: str | None = None
    gpu_settings: tuple[tuple[str, str], ...] | None = None
    driver: str | None = None
    cuda: str | None = None
    cudnn: str | None = None
    python: str
    torch: str
    torchvision: str | None = None
    stepbench: str
    threads: int
    interop_threads: int
    instruction_set: str | None = None
    variables: tuple[tuple[str, str], ...] | None = None
    malloc: tuple[tuple[str, str], ...] = ()
    flags: tuple[tuple[str, str], ...] = ()
    git_commit: str | None = None
    git_dirty: bool | None = None

    @property
    def fingerprint(self) -> str:
        """Hash the fields that decide a speed; equal fingerprints may be compared, others are INCOMPARABLE.

        Fields that older versions did not know are left out where they are not known, so that what those versions
        stored keeps its fingerprint, and histories, peaks and calibrations still join.
        """
        hard = self.comparable_fields()
        return short_hash({name: value for name, value in hard.items() if value is not None or name not in _LATER})

    def comparable_fields(self) -> dict[str, object]:
        """Return the hard fields, so that a refusal can name the one that differs."""
        return {f.name: to_json(getattr(self, f.name)) for f in fields(self) if f.name not in _NOT_IN_FINGERPRINT}


BUSY_CORES_LIMIT = 0.25
"""Cores that other processes keep busy: more than this makes a time doubtful."""

SHARED_LOAD = 0.1
"""A GPU that works for a larger share of the time before we use it works for somebody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """The soft state around a measurement: it explains doubts, and may void a session; it is never a result.

    Attributes:
        load_1m: Runnable tasks, averaged over a minute.
        other_busy_cores: Cores that other processes kept busy while we measured, or None.
        steal_fraction: Share of CPU time that the hypervisor took away, or None.
        involuntary_switches: Times this process was preempted while measuring.
        cpu_mhz: Current frequency where readable.
        gpu_*: Read through NVML where there is a GPU, clock and power while it worked; None if not seen then.
        gpu_throttle_reasons: Why the clock was lowered for a share of the time that matters; None if not seen, which is
            not the same as nothing (which it is in files of versions before 2026-11-30).
        gpu_other_processes: Processes beside ours that compute on the GPU; None if nobody can tell them apart.
        gpu_throttled: Share of the time in which the clock was lowered, by reason; None if not seen.
        gpu_load_before: Share of the time in which the GPU worked for others before we used it.
    """

    load_1m: float | None = None
    other_busy_cores: float | None = None
    steal_fraction: float | None = None
    involuntary_switches: int | None = None
    cpu_mhz: float | None = None
    gpu_clock_mhz: float | None = None
    gpu_temperature_celsius: float | None = None
    gpu_throttle_reasons: tuple[str, ...] | None = None
    gpu_other_processes: int | None = None
    gpu_max_clock_mhz: float | None = None
    gpu_memory_clock_mhz: float | None = None
    gpu_power_watts: float | None = None
    gpu_power_limit_watts: float | None = None
    gpu_throttled: tuple[tuple[str, float], ...] | None = None
    gpu_load_before: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RankSetup:
    """How the ranks of a cell were set up; `Cell.world_size` of them.

    Attributes:
        backend: Backend of their communication: `gloo` or `nccl`.
        threads: Intra-operation threads of each rank.
        devices: One per rank; `hosts` too, of a cell of several nodes; empty for a rank that died before it began.
    """

    backend: str
    threads: int
    devices: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
