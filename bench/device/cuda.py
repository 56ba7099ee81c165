"""GPUs of NVIDIA: through `torch.cuda`, and their own counters through NVML; None where they cannot be had.

The only file that imports pynvml. CUDA and NVML number devices differently; only the UUID names the same one in both.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pynvml

from bench.core.precision import Arithmetic
from bench.device.backend import AllocatorBytes, Backend, Meter

if TYPE_CHECKING:
    import torch

_THROTTLE_REASONS = {
    "thermal": ("nvmlClocksThrottleReasonSwThermalSlowdown", "nvmlClocksThrottleReasonHwThermalSlowdown"),
    "power": ("nvmlClocksThrottleReasonSwPowerCap", "nvmlClocksThrottleReasonHwPowerBrakeSlowdown"),
    "hardware": ("nvmlClocksThrottleReasonHwSlowdown",),
}


_CAPABILITIES = {Arithmetic.BF16: (8, 0), Arithmetic.TF32: (8, 0)}


class CudaBackend(Backend):
    """One GPU of NVIDIA, with torch's caching allocator and streams."""

    kind = "cuda"
    label = "CUDA"
    is_asynchronous = True
    block_bytes = 512
    collective = "nccl"
    memory_method = "torch.cuda allocator peaks over {steps} steps"
    runtime_prefixes = ("cuda", "cu", "hip")
    arithmetics = MappingProxyType(dict.fromkeys((Arithmetic.FP32, Arithmetic.FP16, Arithmetic.FP64)))
    out_of_memory_words = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")

    @classmethod
    def count(cls) -> int:
        """Count the GPUs that CUDA sees; asks NVML, so that this process can still fork."""
        import torch

        return torch.cuda.device_count()

    def lacks(self, arithmetic: Arithmetic) -> str | None:
        """Return what the GPU lacks for an arithmetic, by its compute capability."""
        needed = _CAPABILITIES.get(arithmetic)
        if needed is None:
            return super().lacks(arithmetic)
        import torch

        found = torch.cuda.get_device_capability(self.device)
        name, versions = torch.cuda.get_device_name(self.device), (f"{a}.{b}" for a, b in (needed, found))
        return None if found >= needed else "needs compute capability {}; {name} has {}".format(*versions, name=name)

    def synchronize(self) -> None:
        """Wait for all streams of this GPU."""
        import torch

        torch.accelerator.synchronize(self.device)

    def mark(self) -> torch.Event:
        """Record a timing event into the GPU's current stream."""
        import torch

        event = torch.Event(self.device, enable_timing=True)
        event.record(torch.accelerator.current_stream(self.device))  # without it, that of the current device
        return event

    def seconds_between(self, start: torch.Event, end: torch.Event) -> float:
        """Return the seconds between two recorded events; torch gives milliseconds."""
        return float(start.elapsed_time(end)) / 1e3

    def busy_wait(self) -> tuple[Callable[[int], None], int]:
        """Return the kernel that spins for so many cycles, on this GPU's current stream."""
        import torch

        def wait(cycles: int) -> None:
            with torch.cuda.device(self.index):
                torch.cuda._sleep(cycles)  # type: ignore[no-untyped-call]

        return wait, 10_000_000

    def free_bytes(self) -> int:
        """Read what the driver calls free; asking creates this process's context, which is then not free."""
        import torch

        return int(torch.cuda.mem_get_info(self.device)[0])

    def allocator(self) -> AllocatorBytes:
        """Read the caching allocator."""
        import torch

        return AllocatorBytes(
            allocated=torch.cuda.memory_allocated(self.device),
            peak_allocated=torch.cuda.max_memory_allocated(self.device),
            peak_reserved=torch.cuda.max_memory_reserved(self.device),
        )

    def reset_peak(self) -> None:
        """Let the allocator's peaks start again."""
        import torch

        torch.cuda.reset_peak_memory_stats(self.device)

    def release(self) -> None:
        """Return the allocator's unused blocks to the driver."""
        import torch

        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()

    def used_bytes(self, uuid: str | None) -> int | None:
        """Read what NVML says this process holds, its CUDA context included."""
        state = read_state(uuid) if uuid else None
        return state.own_memory_bytes if state else None

    def facts(self) -> Mapping[str, Any]:
        """Read the GPU, its driver and libraries, and the settings that decide its speed; initialises CUDA."""
        import torch

        found = torch.cuda.get_device_properties(self.device)
        uuid = str(found.uuid)
        return {
            "gpu": found.name,
            "gpu_memory_bytes": found.total_memory,
            "gpu_uuid": uuid,
            "gpu_settings": read_settings(uuid) or None,
            "driver": driver_version(),
            "cuda": torch.version.cuda,
            "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        }

    def state(self, uuid: str | None) -> Mapping[str, Any]:
        """Read clocks, temperature, throttling, power and strangers through NVML."""
        found = read_state(uuid) if uuid else None
        if found is None:
            return {}
        return {
            "gpu_clock_mhz": found.clock_mhz,
            "gpu_temperature_celsius": found.temperature_celsius,
            "gpu_throttle_reasons": found.throttle_reasons,
            "gpu_other_processes": found.other_processes,
            "gpu_max_clock_mhz": found.max_clock_mhz,
            "gpu_memory_clock_mhz": found.memory_clock_mhz,
            "gpu_power_watts": found.power_watts,
            "gpu_power_limit_watts": found.power_limit_watts,
        }

    @classmethod
    def counters_problem(cls) -> str | None:
        """Return why NVML cannot be used."""
        return unavailable_reason()

    def find_meter(self, uuid: str | None = None) -> Meter | str:
        """Find NVML's counter of energy, or return why there is none."""
        reason = unavailable_reason()
        if reason is not None:
            return f"no NVML: {reason}"
        if uuid is None:
            return "the GPU has no UUID to find it by in NVML"
        if read_energy_millijoules(uuid) is None:
            return "this GPU has no energy counter (older than Volta, or an instance of a MIG)"
        return NvmlMeter(uuid)

    def random_state(self) -> torch.Tensor:
        """Read the state of the GPU's generator."""
        import torch

        return torch.cuda.get_rng_state(self.device)

    def set_random_state(self, state: torch.Tensor) -> None:
        """Restore it."""
        import torch

        torch.cuda.set_rng_state(state, self.device)

    def join_group(self) -> None:
        """Join the group over NCCL, with this GPU."""
        import torch

        torch.cuda.set_device(self.device)
        torch.distributed.init_process_group(self.collective, device_id=torch.device(self.device))

    def ddp_devices(self) -> list[torch.device]:
        """Return this GPU."""
        import torch

        return [torch.device(self.device)]

    def profiler_activities(self) -> tuple[torch.profiler.ProfilerActivity, ...]:
        """Return the GPU's kernels."""
        import torch

        return (torch.profiler.ProfilerActivity.CUDA,)

    def is_kernel(self, event: Any) -> bool:
        """Whether a step launched it; copies and fills by the driver are not kernels."""
        from torch._C._autograd import DeviceType

        return event.device_type == DeviceType.CUDA and not event.name.startswith(("Memcpy", "Memset"))


@dataclass(frozen=True, slots=True)
class NvmlMeter:
    """The energy counter of one GPU.

    It counts millijoules of the whole device since the driver was loaded (Volta and newer), and moves about every
    100 ms: measure a window of seconds on a GPU that does nothing else.
    """

    uuid: str
    method: str = "NVML total energy of the whole GPU"

    def read(self) -> tuple[float, ...]:
        """Read the counter; NVML gives millijoules, and this is the one place that converts them."""
        millijoules = read_energy_millijoules(self.uuid)
        return () if millijoules is None else (millijoules / 1e3,)

    def between(self, before: tuple[float, ...], after: tuple[float, ...]) -> float:
        """Subtract; the counter never wraps while we look."""
        return after[0] - before[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuState:
    """One reading of a GPU.

    Attributes:
        own_memory_bytes: Device memory of this process, its CUDA context included; None if NVML does not say.
        throttle_reasons: Why the clock is lower than it could be: `thermal`, `power`, `hardware`.
        other_processes: Processes beside this one that compute on the GPU.
        max_clock_mhz: Highest clock of the GPU.
        memory_clock_mhz: Clock of its memory.
        power_watts: Power drawn right now.
        power_limit_watts: Power at which the GPU lowers its clock.
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
    """Explain why NVML cannot be used; None if it can."""
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


def read_settings(uuid: str) -> tuple[tuple[str, str], ...]:
    """Read what an administrator sets of this GPU and what decides its speed; nothing without NVML.

    NVML shows application clocks, not locked ones (`nvidia-smi -lgc`); those are seen in the clock after each cell.
    """
    with _session() as is_open:
        handle = _handle(uuid) if is_open else None
        if handle is None:
            return ()
        watts = _watts(_ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle))
        ecc, mig = _ask(pynvml.nvmlDeviceGetEccMode, handle), _ask(pynvml.nvmlDeviceGetMigMode, handle)
        found = {
            "application_clock_mhz": _ask(pynvml.nvmlDeviceGetApplicationsClock, handle, pynvml.NVML_CLOCK_SM),
            "application_memory_clock_mhz": _ask(pynvml.nvmlDeviceGetApplicationsClock, handle, pynvml.NVML_CLOCK_MEM),
            "ecc": None if ecc is None else _switch(ecc[0]),
            "mig": None if mig is None else _switch(mig[0]),  # the profile stands in the name of the instance
            "persistence": _switch(_ask(pynvml.nvmlDeviceGetPersistenceMode, handle)),
            "power_limit_watts": None if watts is None else round(watts),
        }
        return tuple((name, str(value)) for name, value in found.items() if value is not None)


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


def _switch(value: int | None) -> str | None:
    return None if value is None else ("on" if value else "off")


def _throttle_reasons(bits: int | None) -> tuple[str, ...]:
    if bits is None:
        return ()
    return tuple(
        reason for reason, names in _THROTTLE_REASONS.items() if any(bits & getattr(pynvml, name) for name in names)
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
