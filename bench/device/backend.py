"""What a kind of device must be able to do (`Backend`), which kinds there are, and which devices this machine has.

    backend = backend_of("cuda:1")
    backend.synchronize()
    start = backend.mark(); ...; end = backend.mark(); backend.synchronize()
    backend.seconds_between(start, end)

A new kind is one file that implements `Backend`, and one entry of `_PLACES`. Nobody
outside `bench/device/` names a kind (`tests/meta/test_devices.py`). Listing the kinds, checking a name and finding a
meter import no torch.
"""

from __future__ import annotations

import abc
import contextlib
import difflib
import errno
import functools
import importlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from bench.core.errors import UsageError
from bench.core.precision import UNUSUAL_TYPES, Arithmetic, Precision
from bench.core.units import counted
from bench.device.readings import AllocatorBytes, Glance, Meter

if TYPE_CHECKING:
    import torch

# torch then asks NVML instead of initialising CUDA, so that a process that only looks can still fork.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

CPU = "cpu"
AUTO = "auto"
ALL = "all"
"""Every accelerator of this machine, where several may be named."""
_PLACES = {
    CPU: "bench.device.cpu:CpuBackend",
    "cuda": "bench.device.cuda:CudaBackend",
    "mps": "bench.device.mps:MpsBackend",
}
KINDS = tuple(_PLACES)
"""Every kind of device; `auto` takes the first device of the accelerators in this order, else the CPU."""

DEVICE_HELP = f"{', '.join(KINDS)} (one of several as {KINDS[1]}:N) or auto"
"""What a user may write, in words."""

_OTHER_NAMES = {"gpu": "cuda", "nvidia": "cuda", "rocm": "cuda", "metal": "mps", "apple": "mps", "host": CPU}
_NAME = re.compile(r"([a-z]+)(?::([0-9]+))?")
_UNUSUAL_TYPE = re.compile(rf"\b({'|'.join(UNUSUAL_TYPES)})\b")


class Backend(abc.ABC):
    """One device of this machine. Making one asks the device nothing and imports no torch.

    The methods without a body here are what a kind must answer; the others have an answer that is right for a device
    that works in step with the host and keeps no counters.

    Attributes:
        kind: Name before the colon, as torch writes it.
        label: Name of the kind in messages.
        unit: What one device of it is called.
        is_asynchronous: Whether work runs beside the host, so that only events tell when it ends.
        block_bytes: Multiple to which the allocator rounds every tensor.
        collective: Backend of `torch.distributed` between such devices.
        memory_method: Where `allocator` reads; None if the memory of a step is that of the process.
        runtime_prefixes: Beginnings of the names by which a profile shows calls of the runtime.
        out_of_memory_words: What a RuntimeError says when memory ran out.
        missing_kernel_words: What a RuntimeError says, besides naming a type, when a kernel is not for this device.
        arithmetics: Why it lacks an arithmetic, as words after its name; None if it has it.
        devices_per_process: Most ranks that one device takes; None if there is no limit.
    """

    kind: ClassVar[str]
    label: ClassVar[str]
    unit: ClassVar[str] = "GPU"
    is_asynchronous: ClassVar[bool]
    block_bytes: ClassVar[int] = 1
    collective: ClassVar[str] = "gloo"
    memory_method: ClassVar[str | None] = None
    runtime_prefixes: ClassVar[tuple[str, ...]] = ()
    out_of_memory_words: ClassVar[tuple[str, ...]] = ()
    missing_kernel_words: ClassVar[tuple[str, ...]] = ()
    arithmetics: ClassVar[Mapping[Arithmetic, str | None]]

    def __init__(self, index: int = 0) -> None:
        self.index = index

    @property
    def device(self) -> str:
        """Full name of the device."""
        return f"{self.kind}:{self.index}"

    def sibling(self, offset: int) -> Backend:
        """Return the device for the rank so many after the first."""
        return type(self)(self.index + offset)

    # What is there, and what it can do.

    @classmethod
    @abc.abstractmethod
    def count(cls) -> int:
        """Count the devices of this kind, without starting the runtime, which a fork would not survive."""

    @classmethod
    def is_missing(cls) -> bool:
        """Whether this machine certainly has no such device; imports no torch."""
        return False

    @classmethod
    def starts_when_counted(cls) -> bool:
        """Whether asking torch how many there are starts the runtime, so that nothing may ask before a fork."""
        return False

    def why_not(self, precision: Precision) -> str | None:
        """Return why the device cannot compute in a precision; None if it can."""
        lacks = self.lacks(precision.row.arithmetic)
        if lacks is not None:
            return f"{precision.value} {lacks}"
        if precision.row.autocasts_to is None:
            return None
        import torch

        is_there = torch.amp.is_autocast_available(self.kind)
        return (
            None if is_there else f"{precision.value} needs autocast, which this build of torch lacks on {self.label}"
        )

    def lacks(self, arithmetic: Arithmetic) -> str | None:
        """Return what the device lacks for an arithmetic, as words after a precision's name; None if it has it."""
        return self.arithmetics.get(arithmetic, f"computes in {arithmetic.value}, which {self.label} has no row for")

    def why_not_ranks(self, ranks: int) -> str | None:
        """Return why there are too few devices for so many ranks from this one on; None if there are enough."""
        there = self.count()
        if self.index + ranks <= there:
            return None
        last = self.sibling(ranks - 1).device
        return f"{ranks} ranks need {self.device} to {last}, this machine has {counted(there, self.unit)}"

    @property
    def has_tf32(self) -> bool:
        """Whether fp32 products may run in tf32."""
        return self.why_not(Precision.TF32) is None

    def start(self) -> None:  # noqa: B027 - a device without a runtime is always ready
        """Start its runtime, and make it the device of whoever names none.

        Raises:
            UsageError: It is there, but cannot be used.
        """

    # Time.

    @abc.abstractmethod
    def synchronize(self) -> None:
        """Wait until the device has done all work that was queued."""

    @abc.abstractmethod
    def mark(self, used: Any = None) -> Any:
        """Record a point in time in the device's current stream; does not synchronise.

        Args:
            used: A mark that nobody needs any more, to be set again: making one costs as much as setting it.
        """

    @abc.abstractmethod
    def seconds_between(self, start: Any, end: Any) -> float:
        """Return the seconds between two marks; the caller has synchronised."""

    def busy_wait(self) -> tuple[Callable[[int], None], int] | None:
        """Return what keeps the device's stream busy for so many units, and units for a first try.

        Time grows in proportion to the units. None if waiting on the host is the same.
        """
        return None

    def waits(self) -> contextlib.AbstractContextManager[Sequence[str]]:
        """Note inside what makes the host wait for the device, as far as torch tells."""
        return contextlib.nullcontext(())

    # Memory.

    @abc.abstractmethod
    def free_bytes(self) -> int | None:
        """Read the free memory, in bytes; None if the system does not tell."""

    def allocator(self) -> AllocatorBytes:
        """Read torch's allocator; nothing for a device whose memory is the process's."""
        return AllocatorBytes()

    def reset_peak(self) -> None:  # noqa: B027 - a device without peaks has nothing to do
        """Let the allocator's peaks start again from what is allocated now."""

    def release(self) -> None:  # noqa: B027 - nor one without a cache
        """Release cached memory; does not start a runtime that was not used."""

    def cache_bytes(self) -> int | None:
        """Return the size of its last cache; None if unknown."""
        return None

    def cpus_near(self, uuid: str | None) -> frozenset[int]:
        """Return the CPUs on its own NUMA node; none if unknown."""
        return frozenset()

    def workspace_bytes(self, uuid: str | None, threads: int) -> int:
        """Return what its library of matrix products takes from the allocator at most, where so many threads call it.

        One after the other, as autograd's does after that of the forward pass.
        """
        return 0

    def history(self, path: str) -> contextlib.AbstractContextManager[None] | None:
        """Note every allocation inside, and write them to a file whatever happens; None if it keeps no history."""
        return None

    def used_bytes(self, uuid: str | None) -> int | str | None:
        """Read the device memory of this process, its context included, or return why it is unknown.

        None for a device whose memory is the process's.
        """
        return None

    def whole_bytes(self) -> int | None:
        """Read the device memory of all processes together; None if unavailable."""
        return None

    # The machine.

    def facts(self) -> Mapping[str, Any]:
        """Read the fields of `Environment` that belong to this device."""
        return {}

    def state(self, uuid: str | None) -> Mapping[str, Any]:
        """Read the fields of `MachineState` that belong to this device: clocks, temperature, load."""
        return {}

    def opened(self) -> contextlib.AbstractContextManager[Any]:
        """Keep the device's own counters open inside, so that a reading takes microseconds."""
        return contextlib.nullcontext()

    def glance(self) -> Glance | None:
        """Read clock, power and throttling while the device works; None if unavailable."""
        return None

    def load(self, uuid: str | None) -> float | None:
        """Read the share of the last moments in which the device worked, for anybody; None if unavailable."""
        return None

    def throttled_seconds(self, uuid: str | None) -> Mapping[str, float]:
        """Read for how long the clock was lowered so far, by reason; only differences mean something."""
        return {}

    @classmethod
    def counters_problem(cls) -> str | None:
        """Return why the device's own counters (clocks, energy) cannot be read; None if they can or there are none."""
        return None

    @abc.abstractmethod
    def find_meter(self, uuid: str | None = None) -> Meter | str:
        """Find the meter of energy, or return why there is none; imports no torch."""

    # torch.

    @abc.abstractmethod
    def random_state(self) -> torch.Tensor | None:
        """Read the state of the device's random generator; None if it is the CPU's, which everybody saves."""

    @abc.abstractmethod
    def set_random_state(self, state: torch.Tensor) -> None:
        """Restore a state of the device's random generator."""

    def join_group(self) -> None:
        """Join the group of processes that the launcher's environment variables name."""
        import torch

        torch.distributed.init_process_group(self.collective)

    def ddp_devices(self) -> list[torch.device] | None:
        """Return the `device_ids` for DistributedDataParallel."""
        return None

    def profiler_activities(self) -> tuple[torch.profiler.ProfilerActivity, ...]:
        """Return what the profiler records of this device, beside the host."""
        return ()

    def is_kernel(self, event: Any) -> bool:
        """Whether an event of a profile is a kernel that a step launched on this device."""
        return False


def backend_of(device: str) -> Backend:
    """Return the backend of a device by its name; the device need not be there.

    Raises:
        UsageError: No such kind of device; the message suggests one.
    """
    kind, index = parse_device(device)
    return _class_of(kind)(index or 0)


def parse_device(text: str) -> tuple[str, int | None]:
    """Split a device's name into its kind and its number, None if none is given; asks no device.

    Raises:
        UsageError: No such kind of device; the message suggests one.
    """
    match = _NAME.fullmatch(text)
    if match is None or match[1] not in KINDS or (match[1] == CPU and match[2] is not None):
        raise UsageError(f"no device kind {text!r}. {_suggestion(text)}Use {DEVICE_HELP}")
    return match[1], None if match[2] is None else int(match[2])


def check_device(text: str) -> None:
    """Refuse a device that cannot be here, as far as that is known without importing torch.

    Raises:
        UsageError: No such kind of device, or certainly none here.
    """
    if text != AUTO and _class_of(parse_device(text)[0]).is_missing():
        raise _not_here(text, _class_of(parse_device(text)[0]), 0)


def normalise_device(text: str, say: Callable[[str], object] = lambda _: None) -> str:
    """Check a device's name, complete it and start its runtime.

    `cuda` is `cuda:0`, `auto` is the first accelerator that starts, or else the CPU.

    Args:
        text: As typed.
        say: Told why `auto` passes over an accelerator that is there.

    Raises:
        UsageError: No such kind of device, none of that number here, or it cannot start.
    """
    if text == AUTO:
        for backend in (kind(0) for kind in _accelerators() if kind.count()):
            try:
                backend.start()
            except UsageError as error:
                say(f"auto takes the next device: {error}")
                continue
            return backend.device
        return CPU
    backend = backend_of(text)
    there = backend.count()
    if backend.index >= there:
        raise _not_here(text, type(backend), there)
    backend.start()
    return backend.device


def complete_device(text: str, *, has_accelerator: bool) -> str:
    """Check and complete a device's name for another machine, which cannot be asked.

    Raises:
        UsageError: No such kind of device.
    """
    if text == AUTO:
        return next(kind(0).device for kind in _accelerators()) if has_accelerator else CPU
    return backend_of(text).device


def all_devices() -> tuple[str, ...]:
    """Name every device of this machine, the CPU first."""
    return tuple(kind(index).device for kind in map(_class_of, KINDS) for index in range(kind.count()))


def counters_problem() -> str | None:
    """Return why the counters of this machine's accelerators cannot be read; None if they can."""
    return next((reason for kind in _accelerators() if (reason := kind.counters_problem())), None)


def starts_when_counted() -> bool:
    """Whether asking torch for accelerators here starts a runtime, which a fork would not survive."""
    return any(kind.starts_when_counted() for kind in _accelerators())


def is_accelerator(device: str) -> bool:
    """Whether work on this device runs asynchronously beside the host; imports no torch."""
    return backend_of(device).is_asynchronous


def synchronize(device: str) -> None:
    """Wait until the device has done all work that was queued."""
    backend_of(device).synchronize()


def why_not(device: str, precision: Precision) -> str | None:
    """Return why a device cannot compute in a precision; None if it can."""
    return backend_of(device).why_not(precision)


def is_runtime_call(name: str) -> bool:
    """Whether a profile's event of this name is a call of a device's runtime."""
    return name.startswith(tuple(prefix for kind in _accelerators() for prefix in kind.runtime_prefixes))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is an allocator's refusal, on whatever device; imports no torch."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if any(cls.__name__ == "OutOfMemoryError" for cls in type(error).__mro__):  # torch's, without importing torch
        return True
    if not isinstance(error, RuntimeError):
        return False
    words = [word for kind in map(_class_of, KINDS) for word in kind.out_of_memory_words]
    return any(word in str(error) for word in words)


def is_missing_kernel(error: BaseException) -> bool:
    """Whether torch says that it has no kernel for a type here; only a precision brings such a type into a model."""
    if not isinstance(error, RuntimeError):
        return False
    if isinstance(error, NotImplementedError) and _UNUSUAL_TYPE.search(str(error)):
        return True
    words = [word for kind in map(_class_of, KINDS) for word in kind.missing_kernel_words]
    return any(word in str(error) for word in words)


def _not_here(text: str, kind: type[Backend], there: int) -> UsageError:
    found = counted(there, f"{kind.label} device") if there else f"no {kind.label} device"
    return UsageError(f"device {text!r} was asked for, but torch sees {found} here; use --device cpu")


def _accelerators() -> tuple[type[Backend], ...]:
    return tuple(_class_of(kind) for kind in KINDS if kind != CPU)


@functools.cache
def _class_of(kind: str) -> type[Backend]:
    module, _, name = _PLACES[kind].partition(":")
    found: type[Backend] = getattr(importlib.import_module(module), name)
    return found


def _suggestion(text: str) -> str:
    word = re.sub(r"[^a-z]", "", text.lower())
    near = _OTHER_NAMES.get(word) or next(iter(difflib.get_close_matches(word, KINDS, n=1, cutoff=0.7)), None)
    return f"Did you mean {near!r}? " if near else ""
