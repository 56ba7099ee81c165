"""GPUs of NVIDIA through `torch.cuda`; their own counters come from `nvml.py`, None where they cannot be had."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.metadata
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bench.core.errors import UsageError
from bench.core.precision import Arithmetic
from bench.device import nvml
from bench.device.backend import Backend, is_out_of_memory
from bench.device.driver import in_time, no_answer
from bench.device.readings import AllocatorBytes, Glance, Meter

if TYPE_CHECKING:
    import torch

_DEVICE_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/nvhost-gpu", "/dev/nvgpu")
"""One of them is there where CUDA has a device: of the usual driver, of WSL, of Jetson."""

_ROCM_FILE = "/dev/kfd"
"""Where ROCm has a device, which torch calls by CUDA's name."""

_CAPABILITIES = {Arithmetic.BF16: (8, 0), Arithmetic.TF32: (8, 0), Arithmetic.FP8: (8, 9)}


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
    out_of_memory_words = (
        "out of memory",
        "CUBLAS_STATUS_ALLOC_FAILED",
        "CUBLAS_STATUS_NOT_INITIALIZED",  # a full GPU has no room for cuBLAS' own handle
        "CUDNN_STATUS_ALLOC_FAILED",
        "cudaErrorMemoryAllocation",
    )

    @classmethod
    def count(cls) -> int:
        """Count the GPUs that CUDA sees; this process can still fork afterwards.

        torch asks NVML. Where that cannot tell, torch asks CUDA itself, which no fork survives: a child asks then.
        """
        import torch

        if torch.cuda.is_initialized() or not cls.starts_when_counted():  # type: ignore[no-untyped-call]
            return torch.cuda.device_count()
        return _count_apart()

    @classmethod
    def is_missing(cls) -> bool:
        """Whether no driver of a GPU is loaded."""
        return not any(Path(path).exists() for path in (*_DEVICE_FILES, _ROCM_FILE))

    @classmethod
    def starts_when_counted(cls) -> bool:
        """Whether there is a GPU that NVML does not tell of: in WSL, on Jetson, or part of a MIG by its UUID."""
        is_part = os.environ.get("CUDA_VISIBLE_DEVICES", "").startswith("MIG-")
        is_there = any(Path(path).exists() for path in _DEVICE_FILES)
        return is_there and (is_part or nvml.unavailable_reason() is not None)

    def lacks(self, arithmetic: Arithmetic) -> str | None:
        """Return what the GPU lacks for an arithmetic, by its compute capability."""
        needed = _CAPABILITIES.get(arithmetic)
        if needed is None:
            return super().lacks(arithmetic)
        import torch

        found = torch.cuda.get_device_capability(self.device)
        name, versions = torch.cuda.get_device_name(self.device), (f"{a}.{b}" for a, b in (needed, found))
        return None if found >= needed else "needs compute capability {}; {name} has {}".format(*versions, name=name)

    def start(self) -> None:
        """Start CUDA, and make this the GPU of whoever names none: kernels of one's own, pinned memory.

        Raises:
            UsageError: CUDA cannot start, as with a driver older than this torch needs; another process has the GPU to
                itself; or CUDA would wait for each kernel, so that no time is right.
        """
        import torch

        if os.environ.get("CUDA_LAUNCH_BLOCKING", "0") not in ("", "0"):
            raise UsageError(
                f"{self.device} cannot be measured with CUDA_LAUNCH_BLOCKING, with which every launch waits: unset it"
            )

        try:
            torch.cuda.set_device(self.device)
            self.synchronize()  # makes the context, which the line before does only where the GPU was not current yet
        except (RuntimeError, AssertionError) as error:
            if is_out_of_memory(error):
                raise
            said = str(error).strip().partition("\n")[0].rstrip(".")
            if "busy or unavailable" in said:
                raise UsageError(
                    f"{self.device} cannot be used: {said}; another process may hold it, and its compute mode may "
                    "allow only one (`nvidia-smi -q -d COMPUTE` shows it)"
                ) from None
            driver, most = nvml.driver_version(), nvml.driver_cuda_version()
            there = f"the driver is {driver}, for CUDA up to {most}" if driver else "NVML finds no driver either"
            raise UsageError(
                f"{self.device} cannot be used: {said}; {there}, and this torch is built for CUDA "
                f"{torch.version.cuda}. Update the driver, install a torch for an older CUDA, or use --device cpu"
            ) from None

    def synchronize(self) -> None:
        """Wait for all streams of this GPU."""
        import torch

        torch.accelerator.synchronize(self.device)

    def mark(self, used: torch.Event | None = None) -> torch.Event:
        """Record a timing event into the GPU's current stream."""
        import torch

        event = torch.Event(self.device, enable_timing=True) if used is None else used
        # Without a stream, that of the current device; by its number, because a name is parsed at every mark.
        event.record(torch.accelerator.current_stream(self.index))
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

    @contextlib.contextmanager
    def waits(self) -> Iterator[list[str]]:
        """Note what torch's own search for synchronisations warns of: `.item()`, `nonzero`, a copy to the host."""
        import torch

        found: list[str] = []
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield found
            finally:
                torch.cuda.set_sync_debug_mode(before)
                # Another warning says that this search is a prototype.
                found += [str(one.message) for one in seen if "called a synchronizing" in str(one.message)]

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
            peak_requested=torch.cuda.memory_stats(self.device).get("requested_bytes.all.peak"),
            peak_reserved=torch.cuda.max_memory_reserved(self.device),
        )

    def reset_peak(self) -> None:
        """Let the allocator's peaks start again."""
        import torch

        torch.cuda.reset_peak_memory_stats(self.device)

    def release(self) -> None:
        """Return the allocator's unused blocks to the driver, those of tensors in cycles included."""
        import torch

        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            gc.collect()
            torch.cuda.empty_cache()

    def cache_bytes(self) -> int:
        """Return the size of L2."""
        import torch

        return int(torch.cuda.get_device_properties(self.device).L2_cache_size)

    def cpus_near(self, uuid: str | None) -> frozenset[int]:
        """Ask NVML for the CPUs on the GPU's own NUMA node."""
        return in_time(nvml.cpus_near, uuid, otherwise=frozenset()) if uuid else frozenset()

    def workspace_bytes(self, uuid: str | None, threads: int) -> int:
        """Return the workspaces of cuBLAS, as torch chooses and keeps them (ATen/cuda/CublasHandlePool.cpp).

        32 MiB from Hopper on, less before; where nobody tells the GPU's age, the most. Until torch 2.14 each thread
        keeps its own; since 2.15 a product frees it when it is launched, so that only one is there at a time.
        """
        chosen = re.findall(r":([0-9]+):([0-9]+)", os.environ.get("CUBLAS_WORKSPACE_CONFIG", ""))
        if chosen:
            size = sum(1024 * int(size) * int(count) for size, count in chosen)
        else:
            capability = in_time(nvml.compute_capability, uuid, otherwise=None) if uuid else None
            size = 8 * 2**20 + 128 * 2**10 if capability is not None and capability < (9, 0) else 32 * 2**20
        return size * (threads if _keeps_workspaces() else 1)

    @contextlib.contextmanager
    def history(self, path: str) -> Iterator[None]:
        """Note every allocation with its stack, for pytorch.org/memory_viz; makes allocating slow."""
        import torch

        torch.cuda.memory._record_memory_history()
        try:
            yield
        finally:
            torch.cuda.memory._dump_snapshot(path)  # type: ignore[no-untyped-call]
            torch.cuda.memory._record_memory_history(enabled=None)

    def used_bytes(self, uuid: str | None) -> int | str:
        """Read what NVML says this process holds, its CUDA context included, or return why it does not say."""
        reason = nvml.unavailable_reason()
        state = nvml.read_state(uuid) if uuid and reason is None else None
        if state is None:
            return f"no NVML: {reason}" if reason else "NVML does not know this GPU"
        if state.own_memory_bytes is None:
            return "NVML does not list this process; in a container it may list those of the host"
        return state.own_memory_bytes

    def whole_bytes(self) -> int:
        """Read what all processes hold of this GPU; the caching allocator has given nothing back since its peak."""
        import torch

        free, total = torch.cuda.mem_get_info(self.device)
        return int(total - free)

    def facts(self) -> Mapping[str, Any]:
        """Read the GPU, its driver and libraries, and the settings that decide its speed; initialises CUDA."""
        import torch

        found = torch.cuda.get_device_properties(self.device)
        uuid = str(found.uuid)
        return {
            "gpu": found.name,
            "gpu_memory_bytes": found.total_memory,
            "gpu_uuid": uuid,
            "gpu_settings": nvml.read_settings(uuid) or None,
            "driver": nvml.driver_version(),
            "cuda": torch.version.cuda,
            "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        }

    def state(self, uuid: str | None) -> Mapping[str, Any]:
        """Read clocks, temperature, throttling, power and strangers through NVML."""
        import torch

        # Not whether it has allocated: making a GPU the current one gives it a context, and NVML lists those.
        has_context = torch.cuda.is_initialized() and torch._C._cuda_hasPrimaryContext(self.index)  # type: ignore[no-untyped-call]
        found = nvml.read_state(uuid, has_context=has_context) if uuid else None
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
        return nvml.unavailable_reason()

    def opened(self) -> contextlib.AbstractContextManager[Any]:
        """Keep NVML open inside."""
        return nvml.opened()

    def glance(self) -> Glance | None:
        """Read clock, power and throttling through NVML."""
        return nvml.glance(self._uuid)

    def load(self, uuid: str | None) -> float | None:
        """Read the utilisation of the last moments."""
        return nvml.read_load(uuid) if uuid else None

    def throttled_seconds(self, uuid: str | None) -> Mapping[str, float]:
        """Read NVML's accumulated counters of throttling."""
        return nvml.read_throttling(uuid) if uuid else {}

    @functools.cached_property
    def _uuid(self) -> str:
        import torch

        return str(torch.cuda.get_device_properties(self.device).uuid)

    def find_meter(self, uuid: str | None = None) -> Meter | str:
        """Find NVML's counter of energy, or else its power, or return why there is neither."""
        unknown: Meter | str = no_answer()
        return in_time(_find_meter, uuid, otherwise=unknown)

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

        self.start()
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


def _find_meter(uuid: str | None) -> Meter | str:
    reason = nvml.unavailable_reason()
    if reason is not None:
        return f"no NVML: {reason}"
    if uuid is None:
        return "the GPU has no UUID to find it by in NVML"
    if nvml.read_energy_millijoules(uuid) is not None:
        return nvml.NvmlMeter(uuid)
    if nvml.read_watts(uuid) is not None:
        return nvml.PowerMeter(uuid)
    return "this GPU tells neither energy nor power (an instance of a MIG does not)"


def _keeps_workspaces() -> bool:
    """Whether torch keeps the workspace of a product for the next one; imports no torch."""
    asked = os.environ.get("TORCH_CUBLAS_WORKSPACE_CACHE", "")
    if asked in ("0", "1"):
        return asked == "1"
    major, minor = re.findall(r"[0-9]+", importlib.metadata.version("torch"))[:2]
    return (int(major), int(minor)) < (2, 15)


@functools.cache
def _count_apart() -> int:
    """Count the GPUs in a child, which then ends without a farewell to anybody."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads, which the child does not need
        pid = os.fork()
    if pid == 0:
        try:
            import torch

            os.write(writer, str(torch.cuda.device_count()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return int(text or 0)
