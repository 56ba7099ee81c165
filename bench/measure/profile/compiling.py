"""What torch.compile did: graphs, why it left them, what it compiled again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch._dynamo.utils import counters

from bench.core.profile import GraphBreak
from bench.core.workload import Workload
from bench.device.batch import call, make_batch
from bench.device.step import Step

MAX_BREAKS = 50
"""Breaks that are kept; a model with more of them is not worth a longer list."""


def graphs_so_far() -> int:
    """Read how many graphs this process has compiled."""
    return int(counters["stats"]["unique_graphs"])


def find_breaks(step: Step) -> tuple[GraphBreak, ...]:
    """Trace the model's forward again without compiling it, and tell where the tracer had to leave a graph.

    Forgets what was compiled in this process: call it last.
    """
    model = step.model
    compiled, model._compiled_call_impl = model._compiled_call_impl, None  # trace the model, not its compiled call
    try:
        with torch.set_grad_enabled(step.is_training):
            explained = call(torch._dynamo.explain(model), step.batch[0])
    finally:
        model._compiled_call_impl = compiled
    breaks = []
    for reason in explained.break_reasons[:MAX_BREAKS]:
        where = reason.user_stack[-1] if reason.user_stack else None
        first = next((line.strip() for line in str(reason.reason).splitlines() if line.strip()), "no reason was given")
        breaks.append(
            GraphBreak(
                reason=first,
                file=where.filename if where else None,
                line=where.lineno if where else None,
            )
        )
    return tuple(breaks)


def feed_batches(step: Step, workload: Workload, batches: Sequence[int], device: str) -> int:
    """Run the compiled model's forward on other batch sizes; return how many graphs were compiled for them.

    One is what is to be expected: torch then makes the batch a variable of the graph.
    """
    before = graphs_so_far()
    for batch_size in batches:
        inputs, _ = make_batch(workload, batch_size, device)
        with torch.set_grad_enabled(step.is_training):
            call(step.model, inputs)
    return graphs_so_far() - before
