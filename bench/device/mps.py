"""The GPU of Apple silicon, through `torch.mps`.

Written after torch's documentation (docs.pytorch.org/docs/stable/mps.html and .../mps_environment_variables.html).
It passes `bench.testing.backend` on a fake of torch's functions; it has not run on such hardware yet.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bench.core.precision import Arithmetic
from bench.device.backend import Backend
from bench.device.readings import AllocatorBytes, Meter

if TYPE_CHECKING:
    import torch

_WAIT_ELEMENTS = 4096
_WAIT_ADDITIONS = 1000  # a unit of waiting


class MpsBackend(Backend):
    """The one GPU of a Mac, which shares its memory with the CPU. torch keeps no peaks of its allocator."""

    kind = "mps"
    label = "MPS"
    is_asynchronous = True
    memory_method = "torch.mps driver allocation after {steps} steps; torch keeps no peaks on MPS"
    out_of_memory_words = ("MPS backend out of memory",)
    arithmetics = MappingProxyType(
        {
            Arithmetic.FP32: None,
            Arithmetic.BF16: None,
            Arithmetic.FP16: None,
            Arithmetic.TF32: "is a mode of CUDA matrix units; MPS computes fp32 in full",
            Arithmetic.FP64: "needs 64-bit floating point, which MPS does not have",
            Arithmetic.FP8: "needs 8-bit floating point, which MPS does not have",
        }
    )

    @classmethod
    def count(cls) -> int:
        """Count one where torch was built with MPS and macOS offers it."""
        import torch

        return int(torch.backends.mps.is_available())

    @classmethod
    def is_missing(cls) -> bool:
        """Whether the system is not Apple's."""
        return sys.platform != "darwin"

    def synchronize(self) -> None:
        """Wait for all kernels in all streams of the GPU."""
        import torch

        torch.mps.synchronize()

    def mark(self, used: Any = None) -> Any:
        """Record a timing event into the current stream."""
        import torch

        event = torch.mps.event.Event(enable_timing=True) if used is None else used
        event.record()
        return event

    def seconds_between(self, start: Any, end: Any) -> float:
        """Return the seconds between two recorded events; torch gives milliseconds."""
        return float(start.elapsed_time(end)) / 1e3

    def busy_wait(self) -> tuple[Callable[[int], None], int]:
        """Return what queues so many small additions; MPS has no kernel that only waits."""
        import torch

        scratch = torch.zeros(_WAIT_ELEMENTS, device=self.kind)

        def wait(additions: int) -> None:
            for _ in range(additions):
                scratch.add_(1.0)

        return wait, _WAIT_ADDITIONS

    def free_bytes(self) -> int | None:
        """Read what the GPU may still take of the shared memory, or what the system has left, if that is less."""
        import torch

        from bench.device.cpu import available_bytes

        left = int(torch.mps.recommended_max_memory()) - int(torch.mps.driver_allocated_memory())
        system = available_bytes()
        return max(0, left if system is None else min(left, system))

    def allocator(self) -> AllocatorBytes:
        """Read the bytes of all tensors now."""
        import torch

        return AllocatorBytes(allocated=int(torch.mps.current_allocated_memory()))

    def release(self) -> None:
        """Release cached memory."""
        import torch

        if self.count():
            torch.mps.empty_cache()

    def used_bytes(self, uuid: str | None) -> int | None:
        """Read all that the Metal driver holds for this process."""
        import torch

        return int(torch.mps.driver_allocated_memory())

    def facts(self) -> Mapping[str, Any]:
        """Read the GPU's name, which is the chip's, and its share of the memory."""
        import torch

        from bench.device.cpu import cpu_name

        return {"gpu": f"{cpu_name()} (MPS)", "gpu_memory_bytes": int(torch.mps.recommended_max_memory())}

    def find_meter(self, uuid: str | None = None) -> Meter | str:
        """Return why there is none."""
        return "macOS shows no energy counter to programs without root (powermetrics needs it)"

    def random_state(self) -> torch.Tensor:
        """Read the state of the GPU's generator."""
        import torch

        return torch.mps.get_rng_state()

    def set_random_state(self, state: torch.Tensor) -> None:
        """Restore it."""
        import torch

        torch.mps.set_rng_state(state)
