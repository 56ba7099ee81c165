"""NVIDIA's own counters of a GPU (NVML): clocks, throttling, power, energy, processes; None where they cannot be had.

The only file that imports pynvml; it imports no torch. CUDA and NVML number devices differently; only the UUID names
the same one in both. Of an instance of a MIG, memory and processes are its own, clocks and power the whole GPU's.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pynvml

from bench.device.readings import Glance

_THROTTLE_REASONS = {
    "thermal": ("nvmlClocksThrottleReasonSwThermalSlowdown", "nvmlClocksThrottleReasonHwThermalSlowdown"),
    "power": ("nvmlClocksThrottleReasonSwPowerCap", "nvmlClocksThrottleReasonHwPowerBrakeSlowdown"),
    "hardware": ("nvmlClocksThrottleReasonHwSlowdown",),
}

_THROTTLE_COUNTERS = {
    "thermal": ("NVML_FI_DEV_PERF_POLICY_THERMAL", "NVML_PERF_POLICY_THERMAL"),
    "power": ("NVML_FI_DEV_PERF_POLICY_POWER", "NVML_PERF_POLICY_POWER"),
}
"""Fields that add up the nanoseconds in which a reason held, and the same of drivers without these fields.

Not the newer `NVML_FI_DEV_CLOCKS_EVENT_REASON_*`: driver 580 numbers some of them 251 to 253, the header of CUDA 13 269
to 271, and each has power smoothing where the other has throttling. What the hardware itself does (heat, brake) has the
bit of a hardware slowdown too, and is seen in glances.
"""

_PREFIXES = ("", "GPU-", "MIG-")
"""torch writes a UUID without what NVML puts before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuState:
    """One reading of a GPU.

    Attributes:
        own_memory_bytes: Device memory of this process, its CUDA context included; None if NVML does not say.
        throttle_reasons: Why the clock is lower than it could be: `thermal`, `power`, `hardware`; None if NVML does not
            say.
        other_processes: Processes beside this one that compute on the GPU; None if NVML does not say.
        max_clock_mhz: Highest clock of the GPU.
        memory_clock_mhz: Clock of its memory.
        power_watts: Power drawn right now.
        power_limit_watts: Power at which the GPU lowers its clock.
    """

    clock_mhz: float | None
    temperature_celsius: float | None
    throttle_reasons: tuple[str, ...] | None
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


@contextlib.contextmanager
def opened() -> Iterator[bool]:
    """Keep NVML open inside: starting it takes tens of milliseconds on a host of eight GPUs, a reading microseconds.

    False without NVML.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield False
        return
    try:
        yield True
    finally:
        with contextlib.suppress(pynvml.NVMLError):  # a driver that is gone meanwhile has nothing to shut down
            pynvml.nvmlShutdown()


def driver_version() -> str | None:
    """Read the version of the NVIDIA driver; None without one."""
    with opened() as is_open:
        return _text(_ask(pynvml.nvmlSystemGetDriverVersion)) if is_open else None


def driver_cuda_version() -> str | None:
    """Read the newest CUDA that the driver supports, as `13.2`; None without one."""
    with opened() as is_open:
        version = _ask(pynvml.nvmlSystemGetCudaDriverVersion_v2) if is_open else None
    return None if version is None else f"{version // 1000}.{version % 1000 // 10}"


def compute_capability(uuid: str) -> tuple[int, int] | None:
    """Read the compute capability of the GPU with this UUID; None if unavailable."""
    with opened() as is_open:
        handle = _handle(uuid) if is_open else None
        found = None if handle is None else _ask(pynvml.nvmlDeviceGetCudaComputeCapability, _whole(handle))
    return None if found is None else (int(found[0]), int(found[1]))


def read_state(uuid: str, *, has_context: bool = True) -> GpuState | None:
    """Read clocks, temperature, throttling and memory of the GPU with this UUID; None without NVML.

    Args:
        uuid: With or without its prefix.
        has_context: This process uses the GPU, so NVML must list it. In a container NVML may list processes by their
            numbers on the host: then nobody can tell which of them are others.
    """
    with opened() as is_open:
        handle = _handle(uuid) if is_open else None
        if handle is None:
            return None
        whole = _whole(handle)
        processes = _ask(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
        own = [process for process in processes or () if process.pid == os.getpid()]
        is_told = processes is not None and (bool(own) or not has_context)
        return GpuState(
            clock_mhz=_ask(pynvml.nvmlDeviceGetClockInfo, whole, pynvml.NVML_CLOCK_SM),
            temperature_celsius=_ask(pynvml.nvmlDeviceGetTemperature, whole, pynvml.NVML_TEMPERATURE_GPU),
            throttle_reasons=_throttled_by(whole),
            other_processes=len(processes) - len(own) if processes is not None and is_told else None,
            own_memory_bytes=own[0].usedGpuMemory if own else None,
            max_clock_mhz=_ask(pynvml.nvmlDeviceGetMaxClockInfo, whole, pynvml.NVML_CLOCK_SM),
            memory_clock_mhz=_ask(pynvml.nvmlDeviceGetClockInfo, whole, pynvml.NVML_CLOCK_MEM),
            power_watts=_watts(_ask(pynvml.nvmlDeviceGetPowerUsage, whole)),
            power_limit_watts=_watts(_ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, whole)),
        )


def glance(uuid: str) -> Glance | None:
    """Read clock, power and throttling while the GPU works; call it with NVML opened. None without NVML."""
    with opened() as is_open:
        handle = _handle(uuid) if is_open else None
        if handle is None:
            return None
        whole = _whole(handle)
        return Glance(
            clock_mhz=_ask(pynvml.nvmlDeviceGetClockInfo, whole, pynvml.NVML_CLOCK_SM),
            power_watts=_power_now(whole),
            throttle_reasons=_throttled_by(whole),
        )


def read_load(uuid: str) -> float | None:
    """Read the share of the last moments in which any kernel ran on the GPU; None if NVML does not say."""
    with opened() as is_open:
        handle = _handle(uuid) if is_open else None
        found = None if handle is None else _ask(pynvml.nvmlDeviceGetUtilizationRates, _whole(handle))
        return None if found is None else float(found.gpu) / 100


def read_throttling(uuid: str) -> Mapping[str, float]:
    """Read the seconds in which the clock was lowered since the driver was loaded, by reason; differences count."""
    with opened() as is_open:
        handle = _handle(uuid) if is_open else None
        if handle is None:
            return {}
        whole, found = _whole(handle), {}
        for reason, (field, policy) in _THROTTLE_COUNTERS.items():
            nanoseconds = _field(whole, getattr(pynvml, field))
            if nanoseconds is None:
                older = _ask(pynvml.nvmlDeviceGetViolationStatus, whole, getattr(pynvml, policy))
                nanoseconds = None if older is None else older.violationTime
            if nanoseconds is not None:
                found[reason] = nanoseconds / 1e9
        return found


def read_settings(uuid: str) -> tuple[tuple[str, str], ...]:
    """Read what an administrator sets of this GPU and what decides its speed; nothing without NVML.

    NVML shows application clocks, not locked ones (`nvidia-smi -lgc`); those are seen in the clock after each cell.
    """
    with opened() as is_open:
        handle = _handle(uuid) if is_open else None
        if handle is None:
            return ()
        whole = _whole(handle)
        watts = _watts(_ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, whole))
        ecc, mig = _ask(pynvml.nvmlDeviceGetEccMode, whole), _ask(pynvml.nvmlDeviceGetMigMode, whole)
        found = {
            "application_clock_mhz": _ask(pynvml.nvmlDeviceGetApplicationsClock, whole, pynvml.NVML_CLOCK_SM),
            "application_memory_clock_mhz": _ask(pynvml.nvmlDeviceGetApplicationsClock, whole, pynvml.NVML_CLOCK_MEM),
            "ecc": None if ecc is None else _switch(ecc[0]),
            "mig": None if mig is None else _switch(mig[0]),  # the profile stands in the name of the instance
            "persistence": _switch(_ask(pynvml.nvmlDeviceGetPersistenceMode, whole)),
            "power_limit_watts": None if watts is None else round(watts),
        }
        return tuple((name, str(value)) for name, value in found.items() if value is not None)


def lock_clock(uuid: str) -> str | None:
    """Lock the clock that a GPU holds at its power limit; return why not, or None.

    An older driver does not know that name, and is given the default clock of applications.
    """
    with opened() as is_open:
        handle = _handle(uuid) if is_open else None
        if handle is None:
            return unavailable_reason() or "NVML does not know this GPU"
        whole = _whole(handle)
        try:
            pynvml.nvmlDeviceSetGpuLockedClocks(whole, *[pynvml.NVML_CLOCK_LIMIT_ID_TDP] * 2)
        except pynvml.NVMLError_NoPermission:
            return "locking needs the rights of an administrator (sudo, or CAP_SYS_ADMIN)"
        except pynvml.NVMLError as error:
            usual = _ask(pynvml.nvmlDeviceGetDefaultApplicationsClock, whole, pynvml.NVML_CLOCK_GRAPHICS)
            if usual is None:
                return str(error)
            try:
                pynvml.nvmlDeviceSetGpuLockedClocks(whole, usual, usual)
            except pynvml.NVMLError as refused:
                return str(refused)
        return None


def release_clock(uuid: str) -> None:
    """Let a GPU choose its clock again."""
    with opened() as is_open:
        handle = _handle(uuid) if is_open else None
        if handle is not None:
            _ask(pynvml.nvmlDeviceResetGpuLockedClocks, _whole(handle))


def cpus_near(uuid: str) -> frozenset[int]:
    """Read which CPUs lie on the GPU's own NUMA node; none without NVML."""
    words = (os.cpu_count() or 1) // 64 + 1
    with opened() as is_open:
        handle = _handle(uuid) if is_open else None
        found = None if handle is None else _ask(pynvml.nvmlDeviceGetCpuAffinity, _whole(handle), words)
    return frozenset(64 * at + bit for at, word in enumerate(found or ()) for bit in range(64) if word >> bit & 1)


def read_energy_millijoules(uuid: str) -> int | None:
    """Read what the GPU with this UUID has used since the driver was loaded; None where it does not count.

    Volta and newer count; an instance of a MIG does not.
    """
    with opened() as is_open:
        handle = _handle(uuid) if is_open else None
        return None if handle is None else _ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle)


def read_watts(uuid: str) -> float | None:
    """Read the power that a whole GPU draws now, or over the last second where it tells no less."""
    with opened() as is_open:
        handle = _handle(uuid) if is_open else None
        return None if handle is None or _whole(handle) is not handle else _power_now(handle)


class _GpuMeter:
    """What the meters of a GPU have in common."""

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid

    def opened(self) -> contextlib.AbstractContextManager[bool]:
        """Keep NVML open inside."""
        return opened()

    def between(self, before: tuple[float, ...], after: tuple[float, ...]) -> float:
        """Subtract; the counter never wraps while we look."""
        return after[0] - before[0]

    def watts(self) -> float | None:
        """Read the power right now."""
        return read_watts(self.uuid)


class NvmlMeter(_GpuMeter):
    """The energy counter of one GPU.

    It counts millijoules of the whole device since the driver was loaded (Volta and newer), and moves about every
    100 ms: measure a window of seconds on a GPU that does nothing else.
    """

    method = "NVML total energy of the whole GPU"

    def read(self) -> tuple[float, ...]:
        """Read the counter; NVML gives millijoules, and this is the one place that converts them."""
        millijoules = read_energy_millijoules(self.uuid)
        return () if millijoules is None else (millijoules / 1e3,)


class PowerMeter(_GpuMeter):
    """The energy of a GPU without an energy counter: its power, read every 100 ms or so and added up over time."""

    method = "NVML power of the whole GPU, sampled and added up"

    def __init__(self, uuid: str) -> None:
        super().__init__(uuid)
        self._joules = 0.0
        self._last: tuple[float, float] | None = None

    def read(self) -> tuple[float, ...]:
        """Take a sample and return the joules so far: the more samples, the better."""
        now, watts = time.perf_counter(), read_watts(self.uuid)
        if watts is not None:
            if self._last is not None:
                self._joules += (now - self._last[0]) * (watts + self._last[1]) / 2
            self._last = now, watts
        return (self._joules,)


def _handle(uuid: str) -> Any | None:
    for prefix in _PREFIXES:
        with contextlib.suppress(pynvml.NVMLError):
            return pynvml.nvmlDeviceGetHandleByUUID(prefix + uuid)
    return None


def _whole(handle: Any) -> Any:
    """Return the GPU that an instance of a MIG is a part of; clocks and power are told of whole ones only."""
    is_part = _ask(pynvml.nvmlDeviceIsMigDeviceHandle, handle)
    return (_ask(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, handle) or handle) if is_part else handle


def _power_now(handle: Any) -> float | None:
    """Read instantaneous power where there is such a field: the older call averages over a second."""
    milliwatts = _field(handle, pynvml.NVML_FI_DEV_POWER_INSTANT)
    return _watts(_ask(pynvml.nvmlDeviceGetPowerUsage, handle) if milliwatts is None else milliwatts)


def _field(handle: Any, number: int) -> int | None:
    """Read a field's value; None if it is not there."""
    values = _ask(pynvml.nvmlDeviceGetFieldValues, handle, [number])
    if values is None or values[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    return int(getattr(values[0].value, _MEMBERS.get(values[0].valueType, "ullVal")))


_MEMBERS = MappingProxyType(
    {
        pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
        pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
        pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
        pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    }
)


def _ask(function: Any, *arguments: Any) -> Any | None:
    """Call NVML; None where this GPU does not support the question, or the driver is too old to know it."""
    try:
        return function(*arguments)
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError):  # the latter of what has versions, and is no NVMLError
        return None


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1e3


def _switch(value: int | None) -> str | None:
    return None if value is None else ("on" if value else "off")


def _throttled_by(handle: Any) -> tuple[str, ...] | None:
    """Read why the clock is lowered now, by the name that CUDA 13 has for the question, or the older one."""
    bits = _ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    return _throttle_reasons(_ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) if bits is None else bits)


def _throttle_reasons(bits: int | None) -> tuple[str, ...] | None:
    if bits is None:
        return None
    return tuple(
        reason for reason, names in _THROTTLE_REASONS.items() if any(bits & getattr(pynvml, name) for name in names)
    )


def _text(value: str | bytes | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
