"""GPUs of NVIDIA without a GPU: what `torch.cuda`, `torch.Event`, `torch.accelerator` and NVML would say of them.

    machine = FakeMachine(gpus=2)
    with machine.installed():
        clock = clock_for("cuda:1")                  # the real backend, on functions of torch that end here
        clock.start(); machine.advance(0.005, device=1); clock.mark()
        clock.collect()                              # ([0.00501], [0.001])

It proves that the code asks the right questions and judges the answers rightly, and nothing about a real GPU. Every
function stands in by autospec, so that a call which the real one would not take fails here too.
"""

from __future__ import annotations

import contextlib
import random
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pynvml
import torch

from bench.measure import clock as clock_module
from tests.fakes.gpu_nvml import REASONS, NvmlOf

KERNELS = 100
"""Pieces that work is launched in: while the host launches one, the device does those before."""

MIB = 2**20
_MARK_SECONDS = 1e-9


@dataclass
class Throttle:
    """While the GPU has worked between `start` and `end` seconds, its clock is lower by `factor`."""

    reason: str
    factor: float = 2.0
    start: float = 0.0
    end: float = float("inf")


@dataclass(eq=False)
class FakeStream:
    """A queue of kernels that run one after the other, beside those of the GPU's other streams."""

    done_at: float = 0.0

    def is_capturing(self) -> bool:
        """Tell torch's optimizers that no graph is captured."""
        return False


class FakeGpu:
    """One card.

    Attributes:
        ramp_seconds: Of work, until an idle GPU has its highest clock; work takes longer until then.
        throttles: When the clock is lowered.
        total: Bytes of its memory.
        context: Bytes of a process's context.
        workspace: Bytes that cuBLAS takes from torch's allocator for a product.
        has_context: This process has a context on it: something of it was used.
        is_exclusive: Its compute mode allows a context of one process only.
        instance: UUID of its first part, where it is cut by MIG; CUDA and NVML write it without and with `MIG-`.
        others: Numbers and bytes of other processes on it.
        load: Utilisation before this process uses it.
    """

    def __init__(self, index: int, *, queue_depth: int) -> None:
        self.index = index
        self.name = "NVIDIA Fake H100"
        self.uuid = f"0000000{index}-89ab-cdef-0123-456789abcdef"
        self.instance = f"1111111{index}-89ab-cdef-0123-456789abcdef"
        self.capability = (9, 0)
        self.total = 80 * 2**30
        self.context = 500 * MIB
        self.workspace = 32 * MIB
        self.block = 512
        self.near = 0b1111 << 4 * index  # CPUs of its NUMA node, as bits
        self.idle_mhz, self.highest_mhz, self.ramp_seconds = 345, 1980, 0.0
        self.idle_watts, self.busy_watts = 70.0, 650.0
        self.throttles: list[Throttle] = []
        self.others: list[tuple[int, int]] = []
        self.load = 0
        self.streams = [FakeStream()]
        self.stream = self.streams[0]  # the current one
        self.busy: deque[tuple[float, float]] = deque(maxlen=4 * queue_depth)  # begin and end of recent kernels
        self.worked = 0.0  # seconds of all work so far
        self.throttled = dict.fromkeys(REASONS, 0.0)
        self.ends: deque[float] = deque(maxlen=queue_depth)
        self.allocated = self.peak = self.reserved = self.peak_reserved = self.requested = self.peak_requested = 0
        self.has_context = self.is_exclusive = False
        self.generator = random.Random(0)

    @property
    def done_at(self) -> float:
        """When the last kernel of all streams ends."""
        return max(stream.done_at for stream in self.streams)

    @contextlib.contextmanager
    def on_a_stream(self) -> Iterator[FakeStream]:
        """Make a new stream the current one inside, as `with torch.cuda.stream(...)` does."""
        before, self.stream = self.stream, FakeStream()
        self.streams.append(self.stream)
        yield self.stream
        self.stream = before

    def active(self) -> list[Throttle]:
        """Return what lowers the clock now."""
        return [one for one in self.throttles if one.start <= self.worked < one.end]

    def mhz(self) -> float:
        """Return the clock at which the next kernel runs."""
        ramped = min(1.0, self.worked / self.ramp_seconds) if self.ramp_seconds else 1.0
        clock = self.idle_mhz + ramped * (self.highest_mhz - self.idle_mhz)
        for one in self.active():
            clock /= one.factor
        return clock

    def run(self, earliest: float, seconds: float) -> None:
        """Do one kernel, which takes so long at the highest clock."""
        taken = seconds * self.highest_mhz / self.mhz()
        for one in self.active():
            self.throttled[one.reason] += taken
        begin = max(self.stream.done_at, earliest)
        end = self.stream.done_at = begin + taken
        self.worked += taken
        self.busy.append((begin, end))
        self.ends.append(end)
        self.has_context = True

    def use(self) -> None:
        """Give this process a context, if it has none."""
        if self.is_exclusive and self.others:
            raise torch.AcceleratorError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nSearch for")
        self.has_context = True

    def is_busy(self, now: float) -> bool:
        """Whether it works at this moment."""
        return now < self.done_at

    def hold(self, size: int) -> object:
        """Allocate as torch does: in blocks, out of segments of 2 MiB; forgotten, the block is free again."""
        asked, size = size, -(-size // self.block) * self.block
        needed = max(self.reserved, -(-(self.allocated + size) // (2 * MIB)) * 2 * MIB)
        if needed + self.context + sum(held for _, held in self.others) > self.total:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size / MIB:.2f} MiB.")
        self.reserved, self.peak_reserved = needed, max(self.peak_reserved, needed)
        self.has_context = True
        return _Held(self, size, asked)

    def used(self) -> int:
        """Return what all processes hold."""
        return (self.context + self.reserved if self.has_context else 0) + sum(held for _, held in self.others)

    def reset_peak(self) -> None:
        """Let the peaks start again."""
        self.peak, self.peak_reserved, self.peak_requested = self.allocated, self.reserved, self.requested

    def random_state(self) -> torch.Tensor:
        """Write the generator's state as torch does: a tensor of bytes."""
        _, words, _ = self.generator.getstate()
        return torch.tensor([byte for word in words for byte in word.to_bytes(4, "big")], dtype=torch.uint8)

    def set_random_state(self, state: torch.Tensor) -> None:
        """Read it back."""
        data = bytes(state.tolist())
        words = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(0, len(data), 4))
        self.generator.setstate((3, words, None))


class _Held:
    def __init__(self, gpu: FakeGpu, size: int, asked: int) -> None:
        self.gpu, self.size, self.asked = gpu, size, asked
        gpu.allocated += size
        gpu.requested += asked
        gpu.peak, gpu.peak_requested = max(gpu.peak, gpu.allocated), max(gpu.peak_requested, gpu.requested)

    def __del__(self) -> None:
        self.gpu.allocated -= self.size
        self.gpu.requested -= self.asked


@dataclass
class FakeMachine:
    """A host, its GPUs, its driver and NVML.

    Attributes:
        gpus: How many.
        launch_seconds: Time of the host that each call of `advance` takes, unless told.
        keeps_workspaces: Of cuBLAS, as torch did before 2.15; else a product frees its own.
        queue_depth: Launches that a GPU's queue holds; into a full one the host launches when a kernel ends.
        nvml: Error of `nvmlInit`, where there is no NVML.
        lacks: NVML's functions that this driver does not support; `is_without` those that its library does not have.
        driver: Its version; `problem` is what torch says when it cannot start CUDA with it.
        lists_host_numbers: NVML shows processes by their numbers on the host, as in a container.
        refuses_locks: This user may not lock clocks.
        is_old: The driver does not know clocks by name.
        mig: The first GPU is cut into instances, and torch sees the first of them.
    """

    gpus: Any = 1
    launch_seconds: float = 0.0
    queue_depth: int = 1000
    keeps_workspaces: bool = False
    nvml: int | None = None
    lacks: tuple[str, ...] = ()
    is_without: tuple[str, ...] = ()
    driver: str = "595.45"
    problem: str | None = None
    lists_host_numbers: bool = False
    mig: bool = False
    refuses_locks: bool = False
    is_old: bool = False
    current: int = 0
    is_started: bool = False
    sync_debug: Any = 0
    synchronizations: int = 0
    events_made: int = 0
    nvml_open: int = 0
    asked: list[str] = field(default_factory=list)
    locked: dict[int, tuple[int, int] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin at a random time, so that nothing may rely on time zero."""
        self.gpus = [FakeGpu(index, queue_depth=self.queue_depth) for index in range(self.gpus)]
        self.host_now = random.randrange(2**39) / 2**20
        for gpu in self.gpus:
            gpu.stream.done_at = self.host_now
        self.born = self.host_now

    @property
    def gpu(self) -> FakeGpu:
        """The first."""
        first: FakeGpu = self.gpus[0]
        return first

    def advance(self, seconds: float, launch_seconds: float | None = None, device: int = 0) -> None:
        """Launch work that takes a GPU so long, kernel by kernel; the GPU idles while it waits for a launch."""
        gpu, launching = self.gpus[device], self.launch_seconds if launch_seconds is None else launch_seconds
        for _ in range(KERNELS):
            if len(gpu.ends) == self.queue_depth:
                self.host_now = max(self.host_now, gpu.ends[0])
            self.host_now += launching / KERNELS
            gpu.run(self.host_now, seconds / KERNELS)

    def multiply(self, seconds: float, device: int = 0) -> list[object]:
        """Launch a matrix product; a workspace that is kept is held as long as what is returned."""
        workspace = self.gpus[device].hold(self.gpus[device].workspace)
        self.advance(seconds, device=device)
        return [workspace] if self.keeps_workspaces else []

    def sleep(self, seconds: float) -> None:
        """Let the host wait."""
        self.host_now += seconds

    def synchronize(self, device: Any = None) -> None:
        """Let the host wait for a GPU."""
        self.synchronizations += 1
        if self.is_started:
            self._of(device).use()
        self.host_now = max(self.host_now, self._of(device).done_at)

    def item(self, device: int = 0) -> None:
        """Read a value of a GPU, which waits for it; warns of that where torch was asked to."""
        self.host_now = max(self.host_now, self.gpus[device].done_at)
        if self.sync_debug == "warn":
            warnings.warn("called a synchronizing CUDA operation (Triggered internally at x.cpp:1.)", stacklevel=2)

    def joules(self, gpu: FakeGpu) -> float:
        """Return what a GPU has used until the last edge of its counter, which moves every 100 ms."""
        now = self.born + (self.host_now - self.born) // 0.1 * 0.1
        ahead = sum(end - max(begin, now) for begin, end in gpu.busy if end > now)
        return gpu.idle_watts * (now - self.born) + (gpu.busy_watts - gpu.idle_watts) * (gpu.worked - ahead)

    def watts(self, gpu: FakeGpu) -> float:
        """Return what a GPU draws now."""
        return gpu.busy_watts if gpu.is_busy(self.host_now) else gpu.idle_watts

    @contextlib.contextmanager
    def installed(self) -> Iterator[FakeMachine]:
        """Stand in for torch's functions, NVML and the host's clock, inside the block."""
        with contextlib.ExitStack() as stack:
            _patch(stack, torch.cuda, self._torch_functions())
            has_context = mock.patch.object(
                torch._C, "_cuda_hasPrimaryContext", lambda index: self.gpus[index].has_context, create=True
            )
            stack.enter_context(has_context)  # a torch without CUDA lacks it
            stack.enter_context(mock.patch.object(torch.cuda, "device", self._made_current))
            accelerator = {"synchronize": self.synchronize, "current_stream": lambda d=None: self._of(d).stream}
            _patch(stack, torch.accelerator, accelerator)
            stack.enter_context(mock.patch.object(torch, "Event", self._event))
            _patch(stack, torch.cuda.memory, {"_record_memory_history": self._record, "_dump_snapshot": self._dump})
            _patch(stack, pynvml, NvmlOf(self).functions())
            times = SimpleNamespace(perf_counter_ns=lambda: round(self.host_now * 1e9))
            stack.enter_context(mock.patch.object(clock_module, "time", times))
            yield self

    def _index(self, device: Any) -> int:
        if device is None:
            return self.current
        found = torch.device(device).index if not isinstance(device, int) else device
        return self.current if found is None else found

    def _of(self, device: Any) -> FakeGpu:
        gpu: FakeGpu = self.gpus[self._index(device)]
        return gpu

    def _start(self) -> None:
        if self.problem is not None:
            raise RuntimeError(self.problem)
        self.is_started = True

    def _set_device(self, device: Any) -> None:
        """Make a GPU the current one, which gives it a context; nothing where it is that already (c10's SetDevice)."""
        self._start()
        if self._index(device) != self.current:
            self.current = self._index(device)
            self.gpus[self.current].use()

    def _set_sync_debug(self, mode: Any) -> None:
        self.sync_debug = mode
        if mode == "warn":
            warnings.warn("the mode does not yet detect all synchronizing operations", stacklevel=2)

    def _memory(self, device: Any = None) -> tuple[int, int]:
        self._start()
        gpu = self._of(device)
        gpu.use()
        return gpu.total - gpu.used(), gpu.total

    @contextlib.contextmanager
    def _made_current(self, device: Any) -> Iterator[None]:
        before, self.current = self.current, self._index(device)
        yield
        self.current = before

    def _event(self, device: Any = None, *, enable_timing: bool = False) -> _Event:
        assert enable_timing, "torch measures no time between other events"
        self.events_made += 1
        return _Event(self)

    def _record(self, enabled: str | None = "all", *_: Any, **__: Any) -> None:
        self.asked.append("history off" if enabled is None else "history on")

    def _dump(self, filename: str = "", *_: Any, **__: Any) -> None:
        self.asked.append(f"dump {filename}")

    def _properties(self, device: Any = None) -> SimpleNamespace:
        self._start()
        gpu = self._of(device)
        uuid = gpu.instance if self.mig and gpu.index == 0 else gpu.uuid
        return SimpleNamespace(name=gpu.name, total_memory=gpu.total, uuid=uuid, L2_cache_size=50 * MIB)

    def _release(self) -> None:
        for gpu in self.gpus:
            gpu.reserved = -(-gpu.allocated // (2 * MIB)) * 2 * MIB

    def _torch_functions(self) -> dict[str, Callable[..., Any]]:
        return {
            "device_count": lambda: len(self.gpus),
            "is_initialized": lambda: self.is_started or any(gpu.has_context for gpu in self.gpus),
            "set_device": self._set_device,
            "get_sync_debug_mode": lambda: self.sync_debug,
            "set_sync_debug_mode": self._set_sync_debug,
            "current_device": lambda: self.current,
            "get_device_capability": lambda d=None: self._of(d).capability,
            "get_device_name": lambda d=None: self._of(d).name,
            "get_device_properties": self._properties,
            "mem_get_info": self._memory,
            "memory_allocated": lambda d=None: self._of(d).allocated,
            "max_memory_allocated": lambda d=None: self._of(d).peak,
            "memory_reserved": lambda d=None: self._of(d).reserved,
            "max_memory_reserved": lambda d=None: self._of(d).peak_reserved,
            "memory_stats": lambda d=None: {"requested_bytes.all.peak": self._of(d).peak_requested},
            "reset_peak_memory_stats": lambda d=None: self._of(d).reset_peak(),
            "empty_cache": self._release,
            "get_rng_state": lambda d="cuda": self._of(d).random_state(),
            "set_rng_state": lambda state, d="cuda": self._of(d).set_random_state(state),
            "_sleep": lambda cycles: self.advance(cycles * 1e-9, 1e-6, self.current),
        }


class _Event:
    """As torch's: knows the kind of device only, and without a stream takes that of the current device."""

    def __init__(self, machine: FakeMachine) -> None:
        self.machine, self.at = machine, float("nan")

    def record(self, stream: FakeStream | None = None) -> None:
        stream = stream or self.machine._of(None).stream
        self.machine.host_now += _MARK_SECONDS
        stream.done_at = self.at = max(stream.done_at, self.machine.host_now)

    def elapsed_time(self, end: _Event) -> float:
        return (end.at - self.at) * 1e3  # torch gives milliseconds


class FakeScaler:
    """A GradScaler that halves its scale so many times, each time instead of an update."""

    def __init__(self, overflows: int) -> None:
        self.scale, self.overflows = 65536.0, overflows

    def get_scale(self) -> float:
        """Return the scale."""
        return self.scale

    def skips(self) -> bool:
        """End a step: whether its update was skipped."""
        if not self.overflows:
            return False
        self.overflows -= 1
        self.scale = float(np.float32(self.scale / 2))  # it ends at 0, after 165 halvings
        return True


def _patch(stack: contextlib.ExitStack, module: Any, functions: dict[str, Callable[..., Any]]) -> None:
    for name, function in functions.items():
        double = mock.create_autospec(getattr(module, name), side_effect=function)
        stack.enter_context(mock.patch.object(module, name, double))


@contextlib.contextmanager
def fake_mps(gpu: FakeGpu) -> Iterator[FakeMachine]:
    """Stand in for `torch.mps`, whose one device is this GPU."""
    machine = FakeMachine()
    machine.gpus, zeros = [gpu], torch.zeros
    gpu.stream.done_at = machine.host_now

    def event(enable_timing: bool = False) -> _Event:
        return machine._event(enable_timing=enable_timing)

    def zeros_of(*size: int, **options: Any) -> Any:
        if options.get("device") != "mps":
            return zeros(*size, **options)
        return SimpleNamespace(add_=lambda _: machine.advance(2e-6, 1e-7))

    with contextlib.ExitStack() as stack:
        _patch(stack, torch.backends.mps, {"is_available": lambda: True})
        functions: dict[str, Callable[..., Any]] = {
            "synchronize": machine.synchronize,
            "recommended_max_memory": lambda: gpu.total,
            "driver_allocated_memory": lambda: gpu.allocated,
            "current_allocated_memory": lambda: gpu.allocated,
            "empty_cache": lambda: None,
            "get_rng_state": lambda *_: gpu.random_state(),
            "set_rng_state": lambda state, *_: gpu.set_random_state(state),
        }
        _patch(stack, torch.mps, functions)
        stack.enter_context(mock.patch.object(torch.mps.event, "Event", event))
        stack.enter_context(mock.patch.object(torch, "zeros", zeros_of))
        stack.enter_context(mock.patch.object(torch.amp, "is_autocast_available", lambda _: True))
        yield machine


def uuid_of(machine: FakeMachine, index: int = 0) -> str:
    return str(machine.gpus[index].uuid)
