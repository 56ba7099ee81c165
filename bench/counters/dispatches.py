"""Count the operations that one steady step dispatches, and the bytes they touch: no clock, no luck.

An operation is what reaches the kernels below autograd and autocast. Views move no data and `prim.*` only asks for
facts, so neither counts. The first step is not counted: it also creates the optimizer's state.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from bench.counters.modes import OperationMode
from bench.counters.tensors import layout_of, storages_of, tensors_in
from bench.device.backend import backend_of
from bench.device.step import Step

_WITHOUT_DATA = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"})
"""Allocate and write nothing: dispatched, but no bytes."""

_OVERWRITE = frozenset({"copy_", "fill_", "zero_"})
"""Do not read what they write over."""

_GATHER = frozenset({"embedding", "index", "index_select", "gather"})
"""Read of their first input only as much as they return."""


_NO_WORK = frozenset({"prim", "profiler"})
"""Namespaces of questions about a tensor, and of marks for the profiler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOperations:
    """What one steady step dispatches.

    Attributes:
        dispatches: Name with overload (`aten.mm.default`) and count, sorted by name.
        bytes_touched: Read and written by them.
    """

    dispatches: tuple[tuple[str, int], ...]
    bytes_touched: int


class OperationCounter(OperationMode):  # type: ignore[no-untyped-call]
    """Counts operations and bytes while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self._dispatches: Counter[torch._ops.OpOverload] = Counter()
        self._bytes = 0

    def operate(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operation and count it."""
        outputs = self.run(func, args, kwargs)
        self.note(func, args, kwargs, outputs)
        return outputs

    def note(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> None:
        """Count an operation that ran."""
        if is_counted(func):
            self._dispatches[func] += 1
            self._bytes += touched_bytes(func, (args, kwargs), outputs)

    def result(self) -> StepOperations:
        """Return what was counted so far."""
        named = sorted((str(func), calls) for func, calls in self._dispatches.items())
        return StepOperations(dispatches=tuple(named), bytes_touched=self._bytes)


@functools.cache
def is_counted(func: torch._ops.OpOverload) -> bool:
    """Whether an operation does work: no view and no question about a tensor."""
    return not (func.namespace in _NO_WORK or func.is_view or _base_name(func) == "_unsafe_view")


def touched_bytes(func: torch._ops.OpOverload, inputs: Any, outputs: Any) -> int:
    """Count the bytes an operation reads and writes at least: each tensor once, dimensions of stride 0 once.

    Conventions: in-place outputs count as read and written; `copy_`, `fill_` and `zero_` do not read what they write
    over; a gather reads of its table what it returns; `empty` touches nothing. Caches are ignored.
    """
    name = _base_name(func)
    if name in _WITHOUT_DATA:
        return 0
    read = list(tensors_in(inputs))
    written = _unique_bytes(tensors_in(outputs))
    if name in _OVERWRITE:
        return _unique_bytes(read[1:]) + written
    if name in _GATHER and read:
        return min(_unique_bytes(read[:1]), written) + _unique_bytes(read[1:]) + written
    return _unique_bytes(read) + written


def _unique_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Sum the bytes of different tensors; the same storage seen through the same view counts once."""
    sizes: dict[tuple[Any, ...], int] = {}
    for tensor in tensors:
        if tensor.is_nested or layout_of(tensor) is not torch.strided:
            sizes |= {(storage._cdata,): storage.nbytes() for storage in storages_of(tensor)}
            continue
        shape, strides = tensor.shape, tensor.stride()
        view = (tensor.untyped_storage()._cdata, tensor.storage_offset(), shape, strides)
        sizes[view] = _extent(shape, strides) * tensor.element_size()
    return sum(sizes.values())


@functools.lru_cache(4096)
def _extent(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Count the elements that a tensor occupies: an expanded dimension occupies one."""
    elements = 1
    for length, stride in zip(shape, strides, strict=True):
        elements *= length if stride != 0 or length == 0 else 1
    return elements


@functools.cache
def _base_name(func: torch._ops.OpOverload) -> str:
    return str(func.overloadpacket.__name__)


def count_kernel_launches(step: Step, device: str) -> int | None:
    """Count the kernels that one step launches on its device, by the profiler; None on a device that launches none.

    Run it outside any timed pass. Copies and fills by the driver (memcpy, memset) are not kernels.

    Raises:
        RuntimeError: The profiler saw no kernel at all: another tool or the driver kept it from looking.
    """
    backend = backend_of(device)
    activities = backend.profiler_activities()
    if not activities:
        return None
    backend.synchronize()
    with torch.profiler.profile(activities=activities) as profiler:
        step()
        backend.synchronize()
    launches = sum(backend.is_kernel(event) for event in profiler.events() or ())
    if launches == 0:
        raise RuntimeError(
            "the profiler saw no kernel of this step: another profiler (nsys, DCGM) may hold the device's counters, or "
            "the driver does not allow reading them"
        )
    return launches
