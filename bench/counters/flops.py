"""Count the FLOPs of one step: forward, loss and backward, per layer and per operation, on any device.

    count = count_module(model, (images,), backward=True)
    count.flops.forward, count.flops.backward, count.layers["conv1"].backward

    counters, advice = count_workload(workload, mode=Mode.TRAIN, batch_size=32)

`tally.py` says what is counted and how. A workload is counted on the meta device, where nothing is computed and nothing
allocated; a model whose flow depends on its data is counted on fake tensors or, at last, on real ones, and says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from bench.core.cell import Mode, Precision
from bench.core.record import Advice, AdviceKind, Counters, FlopCount, LayerCount, Opinion
from bench.core.workload import Workload
from bench.counters.build import Subject, build_on, on_meta
from bench.counters.doubts import find_doubts, without_false_zero
from bench.counters.layers import LayerObserver, layer_table
from bench.counters.modules import ModuleTracker
from bench.counters.opinions import ask_others, ask_torch
from bench.counters.parameters import count_parameters
from bench.counters.tally import FlopTally, StepFlops

_FALLBACKS = {"meta": ("meta", "fake", "cpu"), "fake": ("fake", "cpu")}
_AUTOCAST = {Precision.BF16_AMP: torch.bfloat16, Precision.FP16_AMP: torch.float16}


def count_module(
    module: nn.Module,
    inputs: Sequence[Any],
    *,
    backward: bool = False,
    loss: Callable[[Any], torch.Tensor] | None = None,
    autocast: AbstractContextManager[Any] | None = None,
    observer: LayerObserver | None = None,
) -> StepFlops:
    """Count one forward pass of a module, and its backward pass if asked; on whatever device the tensors are.

    The module runs as it is: in its mode, with gradients or without. Gradients are computed for what requires them,
    and the module's and inputs' `.grad` are left as they were. Backward runs on this thread.

    Args:
        module: Any module; it need not have parameters.
        inputs: It is called as `module(*inputs)`.
        backward: Also count backward.
        loss: From the outputs to a scalar; counts as forward. By default the sum of every output that has a gradient.
        autocast: Entered around forward and loss.
        observer: Collects shapes and bytes per layer.

    Raises:
        ValueError: A backward was asked for, and no output requires a gradient.
    """
    tracker = ModuleTracker(module, None if observer is None else observer.on_output)
    tally = FlopTally(tracker, None if observer is None else observer.on_operation)
    with tracker.track(), tally:
        with autocast or contextlib.nullcontext():
            outputs = module(*inputs)
            scalar = (loss or _sum_of_outputs)(outputs) if backward or loss is not None else None
        if backward:
            assert scalar is not None
            tally.start_backward()
            _run_backward(module, inputs, scalar)
    return tally.result("formulas of dispatched operations")


def count_workload(
    workload: Workload,
    *,
    mode: Mode,
    batch_size: int,
    precision: Precision = Precision.FP32,
    device: str = "meta",
    opinions: bool = True,
) -> tuple[Counters, tuple[Advice, ...]]:
    """Count parameters, FLOPs and layers of one step of a workload; nothing is timed, and on meta nothing is computed.

    Args:
        workload: What to count.
        mode: TRAIN counts forward, loss and backward; INFER the forward pass in eval mode, without gradients.
        batch_size: Examples per step.
        precision: With autocast the count runs on fake CPU tensors, because meta tensors have no autocast.
        device: `meta` falls back to fake CPU tensors, then to real ones. `cpu` and `cuda:N` run the step for real.
        opinions: Ask torch's counter, fvcore and the model's closed form too; fvcore runs the model on real tensors.

    Returns:
        Counters with what could be counted, and the doubts. An error of the model becomes the advice COUNT_FAILED.
    """
    kinds = _FALLBACKS.get("fake" if device == "meta" and precision in _AUTOCAST else device, (device,))
    reasons: list[str] = []
    for kind in kinds:
        try:
            with build_on(kind, workload, mode=mode, batch_size=batch_size, precision=precision) as subject:
                step, observer = _count_subject(subject, workload, precision)
                method = "; ".join([f"{step.flops.method} on {kind} tensors", *reasons])
                flops = dataclasses.replace(without_false_zero(subject.model, step.flops), method=method)
                layers = layer_table(subject.model, step, observer)
                theirs: tuple[Opinion, ...] = (ask_torch(subject, workload, step),) if opinions else ()
        except Exception as error:  # noqa: BLE001 - a user's model can raise anything; the reason is kept and reported
            reasons.append(f"not on {kind}: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
            continue
        if opinions:
            theirs += ask_others(workload, step, mode, batch_size)
        return _counters(subject.model, flops, theirs, layers)
    return _parameters_only(workload, reasons)


def _count_subject(subject: Subject, workload: Workload, precision: Precision) -> tuple[StepFlops, LayerObserver]:
    """Count one step of a built workload, as its mode and precision say."""
    observer = LayerObserver()
    dtype = _AUTOCAST.get(precision)
    with torch.inference_mode(not subject.is_training):
        step = count_module(
            subject.model,
            subject.inputs,
            backward=subject.is_training,
            loss=(lambda outputs: workload.loss(outputs, subject.targets)) if subject.is_training else None,
            autocast=None if dtype is None else torch.autocast(subject.device_type, dtype=dtype),
            observer=observer,
        )
    return step, observer


def _counters(
    model: nn.Module, flops: FlopCount, opinions: tuple[Opinion, ...], layers: tuple[LayerCount, ...]
) -> tuple[Counters, tuple[Advice, ...]]:
    totals = count_parameters(model)
    counters = Counters(
        parameters=totals.parameters,
        trainable_parameters=totals.trainable_parameters,
        buffers=totals.buffers,
        flops=flops,
        opinions=opinions,
        layers=layers,
    )
    return counters, find_doubts(flops, opinions)


def _parameters_only(workload: Workload, reasons: Sequence[str]) -> tuple[Counters, tuple[Advice, ...]]:
    """Count what can be counted of a model that cannot run: its parameters, if it can be built at all."""
    advice = (Advice(kind=AdviceKind.COUNT_FAILED, facts=tuple(("reason", reason) for reason in reasons)),)
    try:
        totals = count_parameters(on_meta(workload.build_model))
    except Exception:  # noqa: BLE001 - it could not be built either; the reasons say so
        return Counters(), advice
    counters = Counters(
        parameters=totals.parameters, trainable_parameters=totals.trainable_parameters, buffers=totals.buffers
    )
    return counters, advice


def _run_backward(module: nn.Module, inputs: Sequence[Any], loss: torch.Tensor) -> None:
    """Run backward and put the gradients back as they were."""
    leaves = [tensor for tensor in (*_tensors_in(inputs), *module.parameters()) if tensor.is_leaf]
    before = [leaf.grad for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    try:
        loss.backward()  # type: ignore[no-untyped-call]
    finally:
        for leaf, grad in zip(leaves, before, strict=True):
            leaf.grad = grad


def _sum_of_outputs(outputs: Any) -> torch.Tensor:
    """Add up every output that has a gradient, so that backward reaches all of them."""
    sums = [tensor.sum() for tensor in _tensors_in(outputs) if tensor.requires_grad]
    if not sums:
        raise ValueError("a backward count was asked for, but no output requires a gradient; give inputs that do")
    return torch.stack(sums).sum() if len(sums) > 1 else sums[0]


def _tensors_in(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]
