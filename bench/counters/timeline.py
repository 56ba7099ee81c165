"""Which tensor storages were alive when: a log of allocations and frees during a step, replayed to find the peak.

    timeline = track_steps(step)                # fake or real tensors alike
    timeline.peak()                             # the highest instant, split by cause

A storage is counted once, however many tensors view it, from the operation that returned it until the last reference is
gone (a weak reference tells). What a kernel allocates and frees inside one operation is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

import torch

from bench.core.record import UNMARKED, Phase, PredictedPeak
from bench.counters.dispatches import OperationCounter
from bench.counters.fakes import without_collector
from bench.counters.modes import OperationMode
from bench.counters.tensors import storages_of, tensors_in
from bench.device import batch
from bench.device.step import Marks, Step


class Cause(IntEnum):
    """Why a storage is alive. A storage with several causes counts under the first of them in this order."""

    WEIGHTS = 0  # parameters and buffers
    INPUTS = 1  # the batch
    OPTIMIZER_STATE = 2
    GRADIENTS = 3  # of parameters; the same storage while backward still fills it
    CONSTANT = 4  # was there before any operation returned it: the model holds it; reported with the weights
    SAVED = 5  # for backward
    TEMPORARY = 6


def sum_saved(step: Step, saved: Mapping[int, int]) -> int:
    """Sum the bytes of storages, by address, that live only because the backward pass of a step's batch needs them."""
    networks = step.networks.values()
    held = [tensor for one in networks for tensor in (*one.parameters(), *one.buffers())]
    others = _addresses([*held, *batch.tensors_in(step.batch)])
    return sum(size for address, size in saved.items() if address not in others)


def _addresses(value: object) -> set[int]:
    return {storage._cdata for tensor in tensors_in(value) for storage in storages_of(tensor)}


class MemoryTimeline(OperationMode):  # type: ignore[no-untyped-call]
    """Logs every storage that operations return, and its end.

    Attributes:
        saved: Bytes saved for backward by the forward pass and the loss of the last step; None where it has several.
    """

    def __init__(self) -> None:
        super().__init__()
        self.saved: int | None = None
        self._counter: OperationCounter | None = None
        self._saved: dict[int, tuple[int, int]] | None = None  # token -> storage address, bytes
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
            for tensor in tensors_in((args, kwargs)):
                for storage in storages_of(tensor):
                    if storage._cdata not in self._tokens:
                        self._causes[self._watch(storage)] = Cause.CONSTANT
        outputs = self.run(func, args, kwargs)
        for tensor in tensors_in(outputs):
            for storage in storages_of(tensor):
                self._watch(storage)
        if self._counter is not None:
            self._counter.note(func, args, kwargs, outputs)
        return outputs

    def label(self, value: Any, cause: Cause) -> None:
        """Explain why the storages of all tensors in `value` live; those not seen before count as allocated now."""
        for tensor in tensors_in(value):
            for storage in storages_of(tensor):
                token = self._watch(storage)
                self._causes[token] = min(self._causes[token], cause)

    def start_counting(self, counter: OperationCounter | None) -> None:
        """Tell a counter of the operations that follow, and note what is saved for backward."""
        self._counter = counter
        self._saved = {}

    def save(self, tensor: torch.Tensor) -> torch.Tensor:
        """Label what is saved for backward."""
        self.label(tensor, Cause.SAVED)
        if self._saved is not None:
            for storage in storages_of(tensor):
                self._saved[self._tokens[storage._cdata]] = storage._cdata, storage.nbytes()
        return tensor

    def sum_saved(self, step: Step) -> None:
        """Sum what was saved until now; nothing if it was not noted."""
        if self._saved is None:
            return
        # What is gone already has no address any more: another storage may have it now.
        found = {
            address if self._tokens.get(address) == token else -1 - token: size
            for token, (address, size) in self._saved.items()
        }
        self.saved = sum_saved(step, found)

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
        """Find the highest instant of each step; an allocator rounds storages up, CUDA's to 512 bytes."""
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


def track_steps(step: Step, counter: OperationCounter | None = None) -> MemoryTimeline:
    """Run two steps and log their memory; the first one creates the optimizer's state, the second is steady.

    What is alive at the start is the model and the batch. `counter` is told of the operations of the last step.
    """
    timeline = MemoryTimeline()
    for network in step.networks.values():
        timeline.label((list(network.parameters()), list(network.buffers())), Cause.WEIGHTS)
    timeline.label(batch.tensors_in(step.batch), Cause.INPUTS)
    hooks = torch.autograd.graph.saved_tensors_hooks(timeline.save, lambda tensor: tensor)
    with without_collector(), timeline, hooks:
        _run(step, timeline)
        timeline.end_step()
        timeline.start_counting(counter)
        _run(step, timeline)
        timeline.end_step()
    return timeline


def _run(step: Step, timeline: MemoryTimeline) -> None:
    """Run one step, naming storages where its phases end."""
    parameters = [parameter for network in step.networks.values() for parameter in network.parameters()]
    last = Phase.LOSS if step.is_training else Phase.FORWARD

    def end(phase: Phase | str) -> None:
        timeline.end_phase(phase)
        if phase is last and type(step) is Step:
            timeline.sum_saved(step)
        if phase is not Phase.FORWARD:
            timeline.label([parameter.grad for parameter in parameters], Cause.GRADIENTS)

    step.split(Marks(end=end))
    for optimizer in step.optimizers:
        timeline.label(batch.tensors_in(optimizer.state), Cause.OPTIMIZER_STATE)


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
