"""The GPU's own counters, read through NVML; None where they cannot be had. The only file that imports pynvml."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pynvml

_THROTTLE_REASONS = {
    "thermal": ("nvmlClocksThrottleReasonSwThermalSlowdown", "nvmlClocksThrottleReasonHwThermalSlowdown"),
    "power": ("nvmlClocksThrottleReasonSwPowerCap", "nvmlClocksThrottleReasonHwPowerBrakeSlowdown"),
    "hardware": ("nvmlClocksThrottleReasonHwSlowdown",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuState:
    """One reading of a GPU.

    Attributes:
        own_memory_bytes: Device memory of this process, its CUDA context included; None if NVML does not say.
        throttle_reasons: Why the clock is lower than it could be: `thermal`, `power`, `hardware`.
        other_processes: Processes beside this one that compute on the GPU.
        max_clock_mhz: That the GPU could reach.
        memory_clock_mhz: Of its memory.
        power_watts: Drawn right now.
        power_limit_watts: At which the GPU lowers its clock.
    """

    clock_mhz: float | None
    temperature_celsius: float | None
    throttle_reasons: tuple[str, ...]
    other_processes: int | None
    own_memory_bytes: int | None
    max_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None


def unavailable_reason() -> str | None:
    """Say why NVML cannot be used; None if it can."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return str(error)
    pynvml.nvmlShutdown()
    return None


def driver_version() -> str | None:
    """Read the version of the NVIDIA driver; None without one."""
    with _session() as is_open:
        return _text(pynvml.nvmlSystemGetDriverVersion()) if is_open else None


def read_state(uuid: str) -> GpuState | None:
    """Read clocks, temperature, throttling and memory of the GPU with this UUID; None without NVML.

    CUDA and NVML number devices differently; only the UUID names the same one in both.
    """
    with _session() as is_open:
        if not is_open:
            return None
        handle = _handle(uuid)
        if handle is None:
            return None
        processes = _ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
        own = [process for process in processes or () if process.pid == os.getpid()]
        return GpuState(
            clock_mhz=_ask(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
            temperature_celsius=_ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
            throttle_reasons=_throttle_reasons(_ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)),
            other_processes=None if processes is None else len(processes) - len(own),
            own_memory_bytes=own[0].usedGpuMemory if own else None,
            max_clock_mhz=_ask(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_SM),
            memory_clock_mhz=_ask(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_MEM),
            power_watts=_watts(_ask(pynvml.nvmlDeviceGetPowerUsage, handle)),
            power_limit_watts=_watts(_ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)),
        )


def read_energy_millijoules(uuid: str) -> int | None:
    """Read what the GPU with this UUID has used since the driver was loaded; None where it does not count.

    Volta and newer count; an instance of a MIG does not.
    """
    with _session() as is_open:
        handle = _handle(uuid) if is_open else None
        return None if handle is None else _ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle)


@contextlib.contextmanager
def _session() -> Iterator[bool]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield False
        return
    try:
        yield True
    finally:
        pynvml.nvmlShutdown()


def _handle(uuid: str) -> Any | None:
    for candidate in (uuid, f"GPU-{uuid}"):
        with contextlib.suppress(pynvml.NVMLError):
            return pynvml.nvmlDeviceGetHandleByUUID(candidate)
    return None


def _ask(function: Any, *arguments: Any) -> Any | None:
    """Call NVML; None where this GPU does not support the question."""
    try:
        return function(*arguments)
    except pynvml.NVMLError:
        return None


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1e3


def _throttle_reasons(bits: int | None) -> tuple[str, ...]:
    if bits is None:
        return ()
    return tuple(
        reason for reason, names in _THROTTLE_REASONS.items() if any(bits & getattr(pynvml, name) for name in names)
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
