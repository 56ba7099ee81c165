"""torch's own functions for CUDA and MPS, without such a device: what `device/cuda.py` and `device/mps.py` call.

Each stands in with the signature that torch documents; behind all of them is one device with a timeline, an allocator
and a random generator.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch

PIECE_SECONDS = 1e-3
_LAUNCH_SECONDS = 1e-6
_BYTES = 2**34


class FakeDevice:
    """One device: calls launch in a microsecond, work queues up behind them.

    Attributes:
        block: Multiple to which its allocator rounds.
    """

    def __init__(self, block: int) -> None:
        self.block = block
        self.host = 1000.0
        self.done_at = 1000.0
        self.allocated = self.peak = 0
        self.generator = random.Random(0)

    def work(self, seconds: float) -> None:
        """Queue work."""
        self.host += _LAUNCH_SECONDS
        self.done_at = max(self.done_at, self.host) + seconds

    def synchronize(self, *_: Any) -> None:
        """Wait."""
        self.host = max(self.host + _LAUNCH_SECONDS, self.done_at)

    def hold(self, size: int) -> object:
        """Allocate; forgotten, it is free again."""
        return _Held(self, -(-size // self.block) * self.block)

    def draw(self) -> list[float]:
        """Draw from the generator."""
        return [self.generator.random() for _ in range(8)]

    def random_state(self, *_: Any) -> torch.Tensor:
        """Write the state as torch does: a tensor of bytes."""
        _, words, _ = self.generator.getstate()
        return torch.tensor([byte for word in words for byte in word.to_bytes(4, "big")], dtype=torch.uint8)

    def set_random_state(self, state: torch.Tensor, *_: Any) -> None:
        """Read it back."""
        data = bytes(state.tolist())
        words = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(0, len(data), 4))
        self.generator.setstate((3, words, None))

    def reset_peak(self, *_: Any) -> None:
        """Let the peak start again."""
        self.peak = self.allocated


class _Held:
    def __init__(self, device: FakeDevice, size: int) -> None:
        self.device, self.size = device, size
        device.allocated += size
        device.peak = max(device.peak, device.allocated)

    def __del__(self) -> None:
        self.device.allocated -= self.size


class _Event:
    def __init__(self, device: FakeDevice) -> None:
        self.device, self.at = device, float("nan")

    def record(self, stream: object = None) -> None:
        self.device.host += _LAUNCH_SECONDS
        self.device.done_at = self.at = max(self.device.done_at, self.device.host)

    def elapsed_time(self, end: _Event) -> float:
        return (end.at - self.at) * 1e3  # torch gives milliseconds


@contextlib.contextmanager
def fake_cuda(device: FakeDevice) -> Iterator[FakeDevice]:
    """Stand in for `torch.cuda`, `torch.Event` and `torch.accelerator`, with one GPU of compute capability 8.0."""

    def event(_device: str, *, enable_timing: bool = False) -> _Event:
        assert enable_timing, "torch measures no time between other events"
        return _Event(device)

    properties = SimpleNamespace(name="Fake GPU", total_memory=_BYTES, uuid="0")
    with contextlib.ExitStack() as stack:
        _patch(
            stack,
            torch.cuda,
            device_count=lambda: 1,
            is_initialized=lambda: True,
            get_device_capability=lambda *_: (8, 0),
            get_device_name=lambda *_: properties.name,
            get_device_properties=lambda *_: properties,
            mem_get_info=lambda *_: (_BYTES - device.allocated, _BYTES),
            memory_allocated=lambda *_: device.allocated,
            max_memory_allocated=lambda *_: device.peak,
            max_memory_reserved=lambda *_: device.peak,
            reset_peak_memory_stats=device.reset_peak,
            empty_cache=lambda: None,
            get_rng_state=device.random_state,
            set_rng_state=device.set_random_state,
            _sleep=lambda cycles: device.work(cycles * 1e-9),
        )
        _patch(stack, torch.accelerator, synchronize=device.synchronize, current_stream=lambda *_: None)
        stack.enter_context(mock.patch.object(torch.cuda, "device", contextlib.nullcontext))
        stack.enter_context(mock.patch.object(torch, "Event", event))
        yield device


@contextlib.contextmanager
def fake_mps(device: FakeDevice) -> Iterator[FakeDevice]:
    """Stand in for `torch.mps`."""
    zeros = torch.zeros

    def event(enable_timing: bool = False) -> _Event:
        assert enable_timing, "torch measures no time between other events"
        return _Event(device)

    def zeros_of(*size: int, **options: Any) -> Any:
        if options.get("device") != "mps":
            return zeros(*size, **options)
        return SimpleNamespace(add_=lambda _: device.work(2e-6))

    with contextlib.ExitStack() as stack:
        _patch(stack, torch.backends.mps, is_available=lambda: True)
        _patch(
            stack,
            torch.mps,
            synchronize=device.synchronize,
            recommended_max_memory=lambda: _BYTES,
            driver_allocated_memory=lambda: device.allocated,
            current_allocated_memory=lambda: device.allocated,
            empty_cache=lambda: None,
            get_rng_state=device.random_state,
            set_rng_state=device.set_random_state,
        )
        stack.enter_context(mock.patch.object(torch.mps.event, "Event", event))
        stack.enter_context(mock.patch.object(torch, "zeros", zeros_of))
        stack.enter_context(mock.patch.object(torch.amp, "is_autocast_available", lambda _: True))
        yield device


def _patch(stack: contextlib.ExitStack, module: Any, **functions: Callable[..., Any]) -> None:
    for name, function in functions.items():
        double = mock.create_autospec(getattr(module, name), side_effect=function)
        stack.enter_context(mock.patch.object(module, name, double))
