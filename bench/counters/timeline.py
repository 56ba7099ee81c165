"""Which tensor storages were alive when: a log of allocations and frees during a step, replayed to find the peak.

    timeline = track_steps(step, steps=2)       # fake or real tensors alike
    timeline.peak()                             # the highest instant, split by cause

A storage is counted once, however many tensors view it, from the operation that returned it until the last reference is
gone (a weak reference tells). What a kernel allocates and frees inside one operation is not seen.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from bench.core.record import UNMARKED, Phase, PredictedPeak
from bench.counters.fakes import without_collector
from bench.counters.modes import OperationMode
from bench.device import batch
from bench.device.marks import Marks
from bench.device.step import Step


class Cause(IntEnum):
    """Why a storage is alive. A storage with several causes counts under the first of them in this order."""

    WEIGHTS = 0  # parameters and buffers
    INPUTS = 1  # the batch
    OPTIMIZER_STATE = 2
    GRADIENTS = 3  # of parameters; the same storage while backward still fills it
    CONSTANT = 4  # was there before any operation returned it: the model holds it; reported with the weights
    SAVED = 5  # for backward
    TEMPORARY = 6


class MemoryTimeline(OperationMode):  # type: ignore[no-untyped-call]
    """Logs every storage that operations return, and its end."""

    def __init__(self) -> None:
        super().__init__()
        self._tokens: dict[int, int] = {}  # storage address -> token, while alive
        self._references: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._sizes: list[int] = []  # per token
        self._causes: list[Cause] = []  # per token
        self._events: list[tuple[int, int, int]] = []  # token, bytes before, bytes after
        self._borders: list[int] = []  # index into the events at the end of each step
        self._phases: list[tuple[int, Phase | str]] = []  # index into the events at the end of each phase

    def operate(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operation and note the storages it returned; unknown inputs are constants of the model."""
        if func is not torch.ops.aten.lift_fresh.default:  # its input is a new tensor, not an old one
            self.label((args, kwargs), Cause.CONSTANT, only_unknown=True)
        outputs = func(*args, **kwargs)
        for tensor in tensors_in(outputs):
            for storage in storages_of(tensor):
                self._watch(storage)
        return outputs

    def label(self, value: Any, cause: Cause, *, only_unknown: bool = False) -> None:
        """Explain why the storages of all tensors in `value` live; those not seen before count as allocated now."""
        for tensor in tensors_in(value):
            for storage in storages_of(tensor):
                is_known = storage._cdata in self._tokens
                if not (is_known and only_unknown):
                    token = self._watch(storage)
                    self._causes[token] = min(self._causes[token], cause)

    def end_phase(self, phase: Phase | str) -> None:
        """Mark the end of a phase."""
        self._phases.append((len(self._events), phase))

    def end_step(self) -> None:
        """Mark the end of a step."""
        self._borders.append(len(self._events))

    def peak(self, *, round_to: int = 1) -> PredictedPeak:
        """Find the highest instant of all steps."""
        return max(self.peaks(round_to=round_to), key=lambda peak: peak.total_bytes)

    def peaks(self, *, round_to: int = 1) -> tuple[PredictedPeak, ...]:
        """Find the highest instant of each step.

        Args:
            round_to: Round every storage up to a multiple: CUDA's caching allocator hands out blocks of 512 bytes.
        """
        live = [0] * len(Cause)
        highest: list[list[int]] = []
        start = 0
        for border in self._borders:
            top, top_total, total = list(live), sum(live), sum(live)
            for token, before, after in self._events[start:border]:
                change = _round_up(after, round_to) - _round_up(before, round_to)
                live[self._causes[token]] += change
                total += change
                if total > top_total:
                    top, top_total = list(live), total
            highest.append(top)
            start = border
        return tuple(_as_peak(top) for top in highest)

    def history(self, *, round_to: int = 1) -> list[tuple[Phase | str, PredictedPeak]]:
        """Replay the last step: its phase and what was alive after each allocation and free, oldest first."""
        start = self._borders[-2] if len(self._borders) > 1 else 0
        live = [0] * len(Cause)
        found: list[tuple[Phase | str, PredictedPeak]] = []
        ends = iter(self._phases)
        end, phase = next(ends, (len(self._events), UNMARKED))
        for index, (token, before, after) in enumerate(self._events[: self._borders[-1]]):
            live[self._causes[token]] += _round_up(after, round_to) - _round_up(before, round_to)
            while index >= end:
                end, phase = next(ends, (len(self._events), phase))
            if index >= start:
                found.append((phase, _as_peak(live)))
        return found

    def _watch(self, storage: torch.UntypedStorage) -> int:
        """Log a new storage, or a known one that was resized; return its token."""
        size = storage.nbytes()
        address = storage._cdata
        token = self._tokens.get(address)
        if token is None:
            token = len(self._sizes)
            self._tokens[address] = token
            self._sizes.append(size)
            self._causes.append(Cause.TEMPORARY)
            self._references[token] = weakref.ref(storage, self._forget(address, token))
            self._events.append((token, 0, size))
        elif self._sizes[token] != size:
            self._events.append((token, self._sizes[token], size))
            self._sizes[token] = size
        return token

    def _forget(self, address: int, token: int) -> Callable[[object], None]:
        def forget(_: object) -> None:
            del self._tokens[address], self._references[token]
            self._events.append((token, self._sizes[token], 0))

        return forget


def track_steps(
    step: Step, steps: int, *, around_last: contextlib.AbstractContextManager[Any] | None = None
) -> MemoryTimeline:
    """Run steps and log their memory; the first one creates the optimizer's state, the second is steady.

    What is alive at the start is the model and the batch.

    Args:
        step: Real or fake.
        steps: How many to run.
        around_last: Entered around the last step: another counter that wants a steady step.
    """
    timeline = MemoryTimeline()
    for network in step.networks.values():
        timeline.label((list(network.parameters()), list(network.buffers())), Cause.WEIGHTS)
    timeline.label(batch.tensors_in(step.batch), Cause.INPUTS)
    with without_collector(), timeline, _labelling_saved(timeline):
        for index in range(steps):
            is_last = index == steps - 1
            with (around_last if is_last else None) or contextlib.nullcontext():
                _run(step, timeline)
            timeline.end_step()
    return timeline


def _run(step: Step, timeline: MemoryTimeline) -> None:
    """Run one step, naming storages where its phases end."""
    parameters = [parameter for network in step.networks.values() for parameter in network.parameters()]

    def end(phase: Phase | str) -> None:
        timeline.end_phase(phase)
        if phase is not Phase.FORWARD:
            timeline.label([parameter.grad for parameter in parameters], Cause.GRADIENTS)

    step.split(Marks(end=end))
    for optimizer in step.optimizers:
        timeline.label(batch.tensors_in(optimizer.state), Cause.OPTIMIZER_STATE)


def _labelling_saved(timeline: MemoryTimeline) -> contextlib.AbstractContextManager[object]:
    def pack(tensor: torch.Tensor) -> torch.Tensor:
        timeline.label(tensor, Cause.SAVED)
        return tensor

    return torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Walk what operations take and return: tuples, lists, dicts. Faster than `batch.tensors_in`, which opens more."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


def storages_of(tensor: torch.Tensor) -> Iterable[torch.UntypedStorage]:
    """Return the storages of a tensor: of a sparse one those of its indices and values; mkldnn's are hidden."""
    if tensor.layout is torch.strided:
        return (tensor.untyped_storage(),)
    with _disable_current_modes():  # reading a part is an operation, and nobody's
        return [part.untyped_storage() for part in _parts(tensor)]


def _parts(tensor: Any) -> tuple[torch.Tensor, ...]:
    if tensor.layout is torch.sparse_coo:
        return tensor._indices(), tensor._values()
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return tensor.crow_indices(), tensor.col_indices(), tensor.values()
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return tensor.ccol_indices(), tensor.row_indices(), tensor.values()
    if tensor.layout is torch.jagged:
        return tensor.values(), tensor.offsets()
    return ()


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _as_peak(live: list[int]) -> PredictedPeak:
    return PredictedPeak(
        total_bytes=sum(live),
        weights_bytes=live[Cause.WEIGHTS] + live[Cause.CONSTANT],
        gradients_bytes=live[Cause.GRADIENTS],
        optimizer_state_bytes=live[Cause.OPTIMIZER_STATE],
        inputs_bytes=live[Cause.INPUTS],
        saved_activations_bytes=live[Cause.SAVED],
        temporary_bytes=live[Cause.TEMPORARY],
    )
