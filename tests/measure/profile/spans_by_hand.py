"""Spans written by hand, in steps of one: what a profiler would record of a small step, without a clock."""

from __future__ import annotations

from bench.measure.profile.attribution import Attribution
from bench.measure.profile.spans import Kernel, Recording, Span, Wait


def span(name: str, start: int, end: int, **more) -> Span:
    return Span(name, start, end, **more)


def attribution(*spans: Span, kernels: tuple[Kernel, ...] = (), waits: tuple[Wait, ...] = ()) -> Attribution:
    return Attribution(recording(*spans, kernels=kernels, waits=waits))


def recording(*spans: Span, kernels: tuple[Kernel, ...] = (), waits: tuple[Wait, ...] = ()) -> Recording:
    ordered = sorted(spans, key=lambda s: (s.thread, s.start, -s.end))
    return Recording(spans=tuple(ordered), kernels=kernels, waits=waits)


def training_step(at: int = 0, first_number: int = 0, thread: int = 1, backward_thread: int = 1) -> list[Span]:
    """A step of 100: layers `a` (10 to 30) and `b` (30 to 40) forward, their nodes (55 to 60, 60 to 80) backward."""
    a, b, loss = first_number, first_number + 1, first_number + 2
    nodes = {"thread": backward_thread, "forward_thread": thread, "is_node": True}
    spans = [
        span("bench.step", 0, 100, thread=thread),
        span("bench.phase:forward", 0, 45, thread=thread),
        span("bench.layer:", 5, 42, thread=thread),
        span("bench.layer:a", 10, 30, thread=thread),
        span("aten::linear", 12, 28, thread=thread, sequence=a),
        span("aten::addmm", 14, 26, thread=thread, sequence=a, correlation=at + 1),
        span("bench.layer:b", 30, 40, thread=thread),
        span("aten::relu", 32, 38, thread=thread, sequence=b, correlation=at + 2),
        span("bench.phase:loss", 45, 50, thread=thread),
        span("aten::mean", 46, 49, thread=thread, sequence=loss, correlation=at + 3),
        span("bench.phase:backward", 50, 85, thread=thread),
        span("MeanBackward0", 51, 54, sequence=loss, correlation=at + 4, **nodes),
        span("ReluBackward0", 55, 60, sequence=b, correlation=at + 5, **nodes),
        span("AddmmBackward0", 60, 80, sequence=a, **nodes),
        span("aten::mm", 62, 78, thread=backward_thread, correlation=at + 6),
        span("autograd::engine::evaluate_function: torch::autograd::AccumulateGrad", 80, 82, **nodes),
        span("bench.phase:optimizer", 85, 99, thread=thread),
        span("Optimizer.step#SGD.step", 86, 94, thread=thread),
        span("aten::add_", 88, 92, thread=thread),
        span("Optimizer.zero_grad#SGD.zero_grad", 95, 98, thread=thread),
    ]
    return [
        Span(s.name, s.start + at, s.end + at, s.thread, s.sequence, s.forward_thread, s.is_node, s.correlation)
        for s in spans
    ]
