"""NVML as `FakeMachine` has it: each function of pynvml that stepbench calls, with the answers of its driver."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pynvml

if TYPE_CHECKING:
    from tests.fakes.gpu import FakeGpu, FakeMachine

REASONS = {"thermal": 0x20, "power": 0x4, "hardware": 0x8}
_FIELDS = {74: "power", 75: "thermal"}  # by the numbers of nvml.h, which every driver knows
_RENUMBERED = range(251, 274)
"""Throttling in one driver, power smoothing in another: a constant here, as a driver of the other kind has it."""
_POLICIES = {"thermal": pynvml.NVML_PERF_POLICY_THERMAL, "power": pynvml.NVML_PERF_POLICY_POWER}


_WITHOUT_A_VERSION = ("nvmlDeviceGetComputeRunningProcesses",)
"""pynvml asks for the newest version, and raises no NVMLError where the driver has only older ones."""


@dataclass(frozen=True)
class _Instance:
    """A part of a GPU, by MIG."""

    gpu: FakeGpu


class NvmlOf:
    """NVML's functions for a machine; a handle is a GPU, or an instance of one."""

    def __init__(self, machine: FakeMachine) -> None:
        self.machine = machine

    def functions(self) -> dict[str, Callable[..., Any]]:
        machine = self.machine
        found: dict[str, Callable[..., Any]] = {
            "nvmlInit": self.init,
            "nvmlShutdown": self.shutdown,
            "nvmlSystemGetDriverVersion": lambda: machine.driver,
            "nvmlSystemGetCudaDriverVersion_v2": lambda: 13020,
            "nvmlDeviceGetHandleByUUID": self.by_uuid,
            "nvmlDeviceGetHandleByIndex": lambda index: machine.gpus[index],
            # pynvml does not unpack this one
            "nvmlDeviceIsMigDeviceHandle": lambda handle: ctypes.c_uint(isinstance(handle, _Instance)),
            "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": lambda handle: handle.gpu,
            "nvmlDeviceGetComputeRunningProcesses": self.processes,
            "nvmlDeviceGetClockInfo": self.clock,
            "nvmlDeviceGetMaxClockInfo": lambda h, _: self.whole(h).highest_mhz,
            "nvmlDeviceGetPowerUsage": lambda h: round(machine.watts(self.whole(h)) * 1e3),
            "nvmlDeviceGetEnforcedPowerLimit": lambda h: (self.whole(h), 700_000)[1],
            "nvmlDeviceGetTotalEnergyConsumption": lambda h: round(machine.joules(self.whole(h)) * 1e3),
            "nvmlDeviceGetTemperature": lambda h, _: (self.whole(h), 41)[1],
            "nvmlDeviceGetCurrentClocksEventReasons": self.reasons,
            "nvmlDeviceGetCurrentClocksThrottleReasons": self.reasons,
            "nvmlDeviceGetViolationStatus": self.violation,
            "nvmlDeviceGetFieldValues": lambda h, ids: [self.value(h, one) for one in ids],
            "nvmlDeviceGetUtilizationRates": self.utilization,
            "nvmlDeviceGetCudaComputeCapability": lambda h: self.whole(h).capability,
            "nvmlDeviceGetEccMode": lambda h: (self.whole(h), [1, 1])[1],
            "nvmlDeviceGetMigMode": lambda h: (self.whole(h), [int(machine.mig)] * 2)[1],
            "nvmlDeviceGetApplicationsClock": lambda h, _: self.whole(h).highest_mhz,
            "nvmlDeviceGetPersistenceMode": lambda h: (self.whole(h), 1)[1],
            "nvmlDeviceSetGpuLockedClocks": self.lock,
            "nvmlDeviceGetDefaultApplicationsClock": lambda h, _: (self.whole(h), 1410)[1],
            "nvmlDeviceGetCpuAffinity": lambda h, words: [
                self.whole(h).near >> 64 * at & 2**64 - 1 for at in range(words)
            ],
            "nvmlDeviceResetGpuLockedClocks": lambda h: machine.locked.update({h.index: None}),
        }
        return {name: self.guarded(name, function) for name, function in found.items()}

    def guarded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.machine.asked.append(name)
            if name.replace("ClocksEvent", "ClocksThrottle") in self.machine.lacks:  # two names of one question
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            if name in self.machine.is_without:
                if name in _WITHOUT_A_VERSION:
                    raise pynvml.NVMLLibraryMismatchError("Unversioned function called")
                raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
            if self.machine.nvml_open <= 0 and name != "nvmlInit":
                raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
            return function(*arguments)

        return call

    def init(self) -> None:
        if self.machine.nvml is not None:
            raise pynvml.NVMLError(self.machine.nvml)
        self.machine.nvml_open += 1

    def shutdown(self) -> None:
        self.machine.nvml_open -= 1

    def by_uuid(self, uuid: str) -> FakeGpu | _Instance:
        for gpu in self.machine.gpus:
            if uuid == f"GPU-{gpu.uuid}":
                return gpu
            if self.machine.mig and uuid == f"MIG-{gpu.instance}":
                return _Instance(gpu)
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def whole(self, handle: Any) -> FakeGpu:
        """Clocks, power and energy are told of whole GPUs only."""
        if isinstance(handle, _Instance):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        gpu: FakeGpu = handle
        return gpu

    def processes(self, handle: Any) -> list[SimpleNamespace]:
        gpu = handle.gpu if isinstance(handle, _Instance) else handle
        own = os.getpid() + (100_000 if self.machine.lists_host_numbers else 0)
        listed = [(own, gpu.context + gpu.reserved)] if gpu.has_context else []
        return [SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in (*listed, *gpu.others)]

    def clock(self, handle: Any, kind: int) -> float:
        gpu = self.whole(handle)
        return gpu.mhz() if gpu.is_busy(self.machine.host_now) else gpu.idle_mhz

    def utilization(self, handle: Any) -> SimpleNamespace:
        gpu = self.whole(handle)
        return SimpleNamespace(gpu=100 if gpu.is_busy(self.machine.host_now) else gpu.load, memory=0)

    def reasons(self, handle: Any) -> int:
        gpu = self.whole(handle)
        if not gpu.is_busy(self.machine.host_now):
            return 0x1  # idle: what lowered the clock is not told any more
        return sum(REASONS[one.reason] for one in gpu.active())

    def violation(self, handle: Any, policy: int) -> SimpleNamespace:
        gpu = self.whole(handle)
        (reason,) = (reason for reason, kind in _POLICIES.items() if kind == policy)
        return SimpleNamespace(referenceTime=0, violationTime=round(gpu.throttled[reason] * 1e9))

    def lock(self, handle: Any, low: int, high: int) -> None:
        if self.machine.refuses_locks:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)
        if low == pynvml.NVML_CLOCK_LIMIT_ID_TDP and self.machine.is_old:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        self.machine.locked[self.whole(handle).index] = (low, high)

    def value(self, handle: Any, field_id: int) -> SimpleNamespace:
        gpu = self.whole(handle)
        kind, wide, narrow, found = pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, 0, 0, pynvml.NVML_SUCCESS
        if field_id == pynvml.NVML_FI_DEV_POWER_INSTANT:
            kind, narrow = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT, round(self.machine.watts(gpu) * 1e3)
        elif field_id in _FIELDS:
            wide = round(gpu.throttled[_FIELDS[field_id]] * 1e9)
        elif field_id in _RENUMBERED:
            wide = 100
        else:
            found = pynvml.NVML_ERROR_NOT_SUPPORTED
        value = SimpleNamespace(uiVal=narrow, ullVal=wide, ulVal=0, sllVal=0)
        return SimpleNamespace(nvmlReturn=found, valueType=kind, value=value)
