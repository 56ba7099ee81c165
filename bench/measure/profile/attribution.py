"""Which layer, phase and operation every instant of the host belongs to.

    per thread      spans nest; the innermost one owns the instant
    layer           the innermost module whose forward is under way
    backward        a node belongs to the layer of the forward operation that made it: autograd numbers its nodes, and
                    every forward operation records the number that the next node gets, so the maker of node n is the
                    last operation on that thread whose number is not above n

That is exact for branching networks, in-place operations, modules called twice, and for what activation checkpointing
computes again, where hooks on gradients are not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.core.profile import AUTOGRAD, COMPILED, GRADIENTS, LOSS, OPTIMIZER, PYTHON, UNATTRIBUTED, ZERO_GRAD
from bench.core.record import Phase, phase_of
from bench.measure.profile.spans import LAYER_MARK, PHASE_MARK, STEP_MARK, Recording, Span

_PHASE_LAYERS: dict[Phase | str, str] = {
    Phase.FORWARD: UNATTRIBUTED,
    Phase.LOSS: LOSS,
    Phase.BACKWARD: AUTOGRAD,
    Phase.OPTIMIZER: OPTIMIZER,
}
_OPTIMIZER_STEP = "Optimizer.step#"
_ZERO_GRAD = "Optimizer.zero_grad#"
_COMPILED = "Torch-Compiled Region: "
_PROFILER = "profiler::"


class Frame:
    """A span in its place.

    Attributes:
        span: What it is.
        parent: The span around it on its thread; None is none.
        is_open: Whether it marks what a step of one's own does as it likes: an operation there is in no module.
        layer: Where it says by itself that it belongs; None leaves that to what is around it.
        node: The autograd node that it runs.
        operation: Row of the operators table; marks have their parent's.
    """

    __slots__ = ("is_open", "layer", "node", "operation", "parent", "span")

    def __init__(self, span: Span, parent: Frame | None) -> None:
        self.span = span
        self.parent = parent
        self.layer = _own_layer(span.name)
        self.node: Span | None = span if span.is_node else None
        is_mark = self.layer is not None or span.name.startswith((_PROFILER, "Optimizer."))
        self.operation: str = (parent.operation if parent else PYTHON) if is_mark else span.name
        self.is_open = is_mark and _is_open(span.name)
        if parent is not None and parent.is_open and not is_mark and not span.is_node:
            self.layer = LOSS


def _own_layer(name: str) -> str | None:
    if name.startswith(LAYER_MARK):
        return name.removeprefix(LAYER_MARK)
    if name.startswith(PHASE_MARK):
        return _PHASE_LAYERS.get(phase_of(name.removeprefix(PHASE_MARK)), UNATTRIBUTED)
    if name == STEP_MARK:
        return UNATTRIBUTED
    if name.startswith(_ZERO_GRAD):
        return ZERO_GRAD
    if name.startswith(_OPTIMIZER_STEP):
        return OPTIMIZER
    if name.startswith(_COMPILED):
        return COMPILED.format(name.removeprefix(_COMPILED))
    return None


def _is_open(name: str) -> bool:
    """Whether a mark is of a phase that a step of one's own named, or of a step outside of its phases."""
    if name.startswith(PHASE_MARK):
        return not isinstance(phase_of(name.removeprefix(PHASE_MARK)), Phase)
    return name == STEP_MARK


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one thread's time that one frame owns; None is outside of every span."""

    thread: int
    start: int
    end: int
    frame: Frame | None


@dataclass(frozen=True, slots=True)
class PhaseBorder:
    """From here on time belongs to this phase of this step."""

    start: int
    step: int
    phase: Phase | str | None  # None: between two steps


class Attribution:
    """All frames of a recording, and what they belong to.

    Args:
        recording: With the marks of `spans.py`.

    Attributes:
        frames: Frames in order of threads, then of time.
        segments: Every thread's time, cut wherever a span starts or ends.
        steps: Start and end of each marked step.
        thread: Thread on which the steps ran.
    """

    def __init__(self, recording: Recording) -> None:
        self.frames: list[Frame] = []
        self.segments: list[Segment] = []
        threads: defaultdict[int, list[Span]] = defaultdict(list)
        for span in recording.spans:
            threads[span.thread].append(span)
        for thread, spans in threads.items():
            self._nest(thread, spans)
        self._makers = _makers(self.frames)
        self._resolved: dict[int, str] = {}
        marked = [frame.span for frame in self.frames if frame.span.name == STEP_MARK]
        self.steps: tuple[tuple[int, int], ...] = tuple((span.start, span.end) for span in marked)
        self.thread: int = marked[0].thread if marked else 0
        self.borders: tuple[PhaseBorder, ...] = tuple(self._phase_borders())
        self._starts = [border.start for border in self.borders]
        self._by_correlation = {frame.span.correlation: frame for frame in self.frames if frame.span.correlation}

    def layer_of(self, frame: Frame | None) -> str:
        """Name the layer, or the row in parentheses, that a frame belongs to."""
        if frame is None:
            return AUTOGRAD  # a thread of its own: that of backward, waiting for work
        known = self._resolved.get(id(frame))
        if known is None:
            known = self._resolved[id(frame)] = self._resolve(frame)
        return known

    def border_at(self, instant: int) -> PhaseBorder | None:
        """Return step and phase of an instant; None before the first step."""
        index = bisect_right(self._starts, instant) - 1
        return self.borders[index] if index >= 0 else None

    def frame_of(self, correlation: int) -> Frame | None:
        """Find the operation that launched a kernel."""
        return self._by_correlation.get(correlation)

    def _resolve(self, frame: Frame) -> str:
        if frame.layer is not None:
            return frame.layer
        if frame.node is not None:
            return self._layer_of_node(frame.node)
        return self.layer_of(frame.parent)

    def _layer_of_node(self, node: Span) -> str:
        if "AccumulateGrad" in node.name:
            return GRADIENTS
        numbers, makers = self._makers.get(node.forward_thread, ((), ()))
        index = bisect_right(numbers, node.sequence) - 1
        if node.sequence < 0 or index < 0:
            return UNATTRIBUTED
        return self.layer_of(makers[index])

    def _nest(self, thread: int, spans: Sequence[Span]) -> None:
        """Turn the spans of one thread into frames, and its time into segments."""
        stack: list[tuple[Frame, int]] = []  # with its end, which never exceeds that of the frame around it
        cursor = spans[0].start if spans else 0

        def emit(until: int) -> None:
            nonlocal cursor
            if until > cursor:
                self.segments.append(Segment(thread, cursor, until, stack[-1][0] if stack else None))
                cursor = until

        for span in spans:
            while stack and stack[-1][1] <= span.start:
                emit(stack[-1][1])
                stack.pop()
            emit(span.start)
            parent, limit = stack[-1] if stack else (None, span.end)
            frame = Frame(span, parent)
            self.frames.append(frame)
            stack.append((frame, min(span.end, limit)))
        while stack:
            emit(stack[-1][1])
            stack.pop()

    def _phase_borders(self) -> Iterator[PhaseBorder]:
        """A phase lasts until the next one starts, or its step ends."""
        starts = [
            (frame.span.start, phase_of(frame.span.name.removeprefix(PHASE_MARK)))
            for frame in self.frames
            if frame.span.name.startswith(PHASE_MARK)
        ]
        for index, (start, end) in enumerate(self.steps):
            first = True
            for instant, phase in starts:
                if start <= instant < end:
                    yield PhaseBorder(start if first else instant, index, phase)
                    first = False
            yield PhaseBorder(end, index, None)


def _makers(frames: Iterable[Frame]) -> dict[int, tuple[list[int], list[Frame]]]:
    """By thread: the numbers that forward operations recorded, ascending, and those operations."""
    found: dict[int, tuple[list[int], list[Frame]]] = {}
    for frame in frames:
        span = frame.span
        if span.sequence >= 0 and not span.is_node:
            numbers, makers = found.setdefault(span.thread, ([], []))
            if not numbers or span.sequence >= numbers[-1]:  # numbers never fall on a thread
                numbers.append(span.sequence)
                makers.append(frame)
    return found
