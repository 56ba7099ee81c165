"""What to doubt about a FLOP count: zeros that cannot be true, lower bounds, counters that disagree."""

from __future__ import annotations

import dataclasses

from torch import nn

from bench.core.record import Advice, AdviceKind, FlopCount, Opinion

_WITHOUT_PRODUCTS = (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RMSNorm, nn.PReLU)
"""Modules whose matrices are looked up or applied pointwise."""


def without_false_zero(model: nn.Module, flops: FlopCount) -> FlopCount:
    """Call a count of 0 unmeasured, where the model has matrices to multiply or something could not be counted.

    A model that really has no products (an activation, a pool) keeps its 0.
    """
    if flops.forward != 0:
        return flops
    has_matrix = any(
        parameter.dim() >= 2
        for module in model.modules()
        if not isinstance(module, _WITHOUT_PRODUCTS)
        for parameter in module.parameters(recurse=False)
    )
    if not has_matrix and not flops.uncounted:
        return flops
    return dataclasses.replace(flops, forward=None, backward=None, executed_forward=None, executed_backward=None)


def find_doubts(flops: FlopCount, opinions: tuple[Opinion, ...]) -> tuple[Advice, ...]:
    """Turn what is doubtful about a count into advice; one per counter that disagrees by any amount.

    Counters are compared forward, and backward where both have one. One that could not count does not disagree.
    """
    names = ", ".join(f"{name} x{calls}" for name, calls in flops.uncounted)
    if flops.forward is None:
        fact = ("uncounted", names) if names else ("reason", "it has matrices, but no product was dispatched")
        return (Advice(kind=AdviceKind.FLOPS_UNMEASURED, facts=(fact,)),)
    advice = []
    if flops.is_lower_bound:
        advice.append(Advice(kind=AdviceKind.FLOPS_LOWER_BOUND, facts=(("uncounted", names),)))
    for opinion in opinions:
        for phase, ours, theirs in (
            ("forward", flops.forward, opinion.forward_flops),
            ("backward", flops.backward, opinion.backward_flops),
        ):
            if theirs is None or ours is None or theirs == ours:
                continue
            facts = ((f"{phase}_flops", ours), (f"{opinion.counter}_{phase}_flops", theirs))
            advice.append(Advice(kind=AdviceKind.FLOPS_DISAGREE, facts=facts))
    return tuple(advice)
