"""Count the FLOPs of one step: forward, loss and backward, per layer and per operation, on any device.

    count = count_module(model, (images,), backward=True)
    count.flops.forward, count.flops.backward, count.layers["conv1"].backward

    counters, advice = count_workload(workload, mode=Mode.TRAIN, batch_size=32)

`tally.py` says what is counted and how. A workload is counted on the meta device, where nothing is computed and nothing
allocated; a model whose flow depends on its data is counted on fake tensors or, at last, on real ones, and says so.

What to doubt about a FLOP count: zeros that cannot be true, lower bounds, counters that disagree.

Make the per-layer table: parameters, shapes, FLOPs and bytes of each module, without its children.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from bench.core.advice import Advice, AdviceKind
from bench.core.cell import Mode, Precision
from bench.core.record import Counters, FlopCount, LayerCount
from bench.core.text import input_hint
from bench.core.workload import Workload
from bench.counters.build import (
    REAL_TENSORS,
    Subject,
    build_eagerly,
    build_on,
    on_meta,
    refuse_large_workload,
    whole,
)
from bench.counters.cache import OutputCache
from bench.counters.dispatches import is_counted, touched_bytes
from bench.counters.modules import LOSS, UNATTRIBUTED, ModuleTracker
from bench.counters.opinions import Answer, ask_formula, ask_fvcore, ask_torch
from bench.counters.parameters import count_layer_parameters, count_parameters
from bench.counters.tally import ComplexConvolutions, FlopTally, PhaseFlops, StepFlops
from bench.device.batch import call, tensors_in
from bench.device.gradients import GradMode, run_without_gradients
from bench.device.prepare import autocast_dtype, trainable_of
from bench.device.settings import generator_states, seed_all
from bench.device.step import Marks, OwnStep

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


def find_doubts(flops: FlopCount, answers: tuple[Answer, ...]) -> tuple[Advice, ...]:
    """Turn what is doubtful about a count into advice; one per counter that disagrees for no known cause.

    Counters are compared forward, and backward where both have one. One that could not count does not disagree.
    """
    names = ", ".join(f"{name} x{calls}" for name, calls in flops.uncounted)
    if flops.forward is None:
        fact = ("uncounted", names) if names else ("reason", "it has matrices, but no product was dispatched")
        return (Advice(kind=AdviceKind.FLOPS_UNMEASURED, facts=(fact,)),)
    advice = []
    if flops.is_lower_bound:
        advice.append(Advice(kind=AdviceKind.FLOPS_LOWER_BOUND, facts=(("uncounted", names),)))
    for answer in answers:
        opinion = answer.opinion
        for phase, ours, theirs in (
            ("forward", flops.forward, opinion.forward_flops),
            ("backward", flops.backward, opinion.backward_flops),
        ):
            if theirs is None or ours is None or theirs == ours or phase not in answer.unexplained:
                continue
            facts = ((f"{phase}_flops", ours), (f"{opinion.counter}_{phase}_flops", theirs))
            advice.append(Advice(kind=AdviceKind.FLOPS_DISAGREE, facts=facts))
    return tuple(advice)


class LayerObserver:
    """Collects what passes through each module during one forward pass.

    Attributes:
        calls: How often each module was called.
        shapes: Shapes of the first output tensor of the last call.
        activation_bytes: Bytes of the output tensors of all calls.
        bytes_touched: Read and written by the operations dispatched in a module and in no child.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.activation_bytes: Counter[str] = Counter()
        self.bytes_touched: Counter[str] = Counter()

    def on_output(self, layer: str, output: Any) -> None:
        """Note the output of one call."""
        self.calls[layer] += 1
        tensors = tensors_in(output)
        if tensors and not tensors[0].is_nested:
            self.shapes[layer] = tuple(tensors[0].shape)
        self.activation_bytes[layer] += sum(t.numel() * t.element_size() for t in {id(t): t for t in tensors}.values())

    def on_operation(self, layer: str, operation: Any, inputs: Any, output: Any) -> None:
        """Note the bytes of one operation."""
        if is_counted(operation):
            self.bytes_touched[layer] += touched_bytes(operation, inputs, output)


def layer_table(model: nn.Module, step: StepFlops, observer: LayerObserver) -> tuple[LayerCount, ...]:
    """Make one row per module in the model's order, and rows for the loss and what could not be attributed.

    A row of the latter kind appears only if it has FLOPs; its name is in parentheses. Each FLOP column sums to the
    total. A module that was never called (its weights were used by its parent) has `calls` 0 and no shape.
    """
    has_backward = step.flops.backward is not None
    modules = dict(model.named_modules())
    none = PhaseFlops()
    rows = []
    for name, own in count_layer_parameters(model).items():
        flops, was_called = step.layers.get(name, none), observer.calls[name] > 0
        rows.append(
            LayerCount(
                name=name,
                type=type(modules[name]).__name__,
                calls=observer.calls[name],
                parameters=own.parameters,
                trainable_parameters=own.trainable_parameters,
                buffers=own.buffers,
                weight_shape=_weight_shape(modules[name]),
                output_shape=observer.shapes.get(name),
                flops_forward=flops.forward,
                flops_backward=flops.backward if has_backward else None,
                activation_bytes=observer.activation_bytes[name] if was_called else None,
                bytes_touched=observer.bytes_touched[name],
            )
        )
    for name in (LOSS, UNATTRIBUTED):
        flops = step.layers.get(name, none)
        if flops.forward or flops.backward:
            rows.append(
                LayerCount(
                    name=name,
                    type="",
                    flops_forward=flops.forward,
                    flops_backward=flops.backward if has_backward else None,
                    bytes_touched=observer.bytes_touched[name],
                )
            )
    return tuple(rows)


def _weight_shape(module: nn.Module) -> tuple[int, ...] | None:
    weight = dict(module._parameters.items()).get("weight")  # a scripted module's has no `get`
    return None if weight is None else tuple(weight.shape)


_FALLBACKS = {"meta": ("meta", "fake", "cpu"), "fake": ("fake", "cpu")}


def count_module(
    module: nn.Module,
    inputs: Any,
    *,
    backward: bool = False,
    loss: Callable[[Any], torch.Tensor] | None = None,
    autocast: AbstractContextManager[Any] | None = None,
    observer: LayerObserver | None = None,
    convolutions: ComplexConvolutions | None = None,
    cache: OutputCache | None = None,
    asks_torch: bool = False,
) -> StepFlops:
    """Count one forward pass of a module, and its backward pass if asked; on whatever device the tensors are.

    The module runs as it is: in its mode, with gradients or without. Gradients are computed for what requires them,
    and the module's and inputs' `.grad` are left as they were. Backward runs on this thread.

    Args:
        module: Any module; it need not have parameters.
        inputs: A tuple of positional inputs, or a mapping of keywords.
        backward: Also count backward.
        loss: Makes a scalar of the outputs; part of forward. By default the sum of outputs with a gradient.
        autocast: Entered around forward and loss.
        observer: Collects shapes and bytes per layer.
        convolutions: Counts complex convolutions as such, and not as the three real ones that torch makes of each.
        cache: Cache of operations on tensors of this kind, where others count on them too.
        asks_torch: Also note what torch's own formulas say of the same operations.

    Raises:
        ValueError: A backward was asked for, and no output requires a gradient.
    """
    tracker = ModuleTracker(module, None if observer is None else observer.on_output)
    observe = None if observer is None else observer.on_operation
    tally = FlopTally(tracker, observe, convolutions, cache=cache, asks_torch=asks_torch)
    with tracker.track(), tally, convolutions or contextlib.nullcontext():
        with autocast or contextlib.nullcontext():
            outputs = call(module, inputs)
            scalar = (loss or _sum_of_outputs)(outputs) if backward or loss is not None else None
        if backward:
            assert scalar is not None
            tally.start_backward()
            _run_backward(module, inputs, scalar)
    return dataclasses.replace(tally.result(), saw_parts=tally.saw_parts)


def count_own_step(
    step: OwnStep, *, observer: LayerObserver | None = None, cache: OutputCache | None = None
) -> StepFlops:
    """Count one step that a workload wrote itself, on whatever device; autograd tells what is backward."""
    tracker = ModuleTracker(whole(step.networks), None if observer is None else observer.on_output)
    tally = FlopTally(tracker, None if observer is None else observer.on_operation, by_engine=True, cache=cache)
    tally.start_backward()
    with tracker.track(), tally:
        step.split(Marks())
    return tally.result()


def count_workload(workload: Workload, **asked: Any) -> tuple[Counters, tuple[Advice, ...]]:
    """Count one step as `count_seeded` does, without its last answer; `asked` are its options."""
    counters, advice, _ = count_seeded(workload, **asked)
    return counters, advice


def count_seeded(
    workload: Workload,
    *,
    mode: Mode,
    batch_size: int,
    precision: Precision = Precision.FP32,
    device: str = "meta",
    opinions: bool = True,
    seed: int = 0,
) -> tuple[Counters, tuple[Advice, ...], bool]:
    """Count parameters, FLOPs and layers of one step of a workload; nothing is timed, and on meta nothing is computed.

    Args:
        workload: What to count.
        mode: TRAIN counts forward, loss and backward; INFER the forward pass in eval mode, without gradients.
        batch_size: Examples per step.
        precision: With autocast the count runs on fake CPU tensors, because meta tensors have no autocast.
        device: `meta` falls back to fake CPU tensors, then to real ones. `cpu` and `cuda:N` run the step for real.
        opinions: Ask torch's counter, fvcore and the model's closed form too; fvcore runs the model on real tensors.
        seed: Seeds torch, Python's `random` and numpy before the model is built.

    Returns:
        Counters with what could be counted, the doubts, and whether another seed may count otherwise: something was
        drawn on the host, or real tensors were needed. An error of the model becomes the advice COUNT_FAILED.
    """
    kinds = _FALLBACKS.get("fake" if device == "meta" and autocast_dtype(precision) else device, (device,))
    reasons: list[str] = []
    for kind in kinds:
        try:
            with build_on(kind, workload, mode=mode, batch_size=batch_size, precision=precision, seed=seed) as subject:
                before = generator_states(seed)
                has_drawn = kind == REAL_TENSORS or before[:2] != subject.states[:2]
                step, observer = _count_subject(subject, workload, asks_torch=opinions)
                method = "; ".join([f"{step.flops.method} on {_KINDS.get(kind, kind)} tensors", *reasons])
                flops = dataclasses.replace(without_false_zero(subject.counted, step.flops), method=method)
                layers = layer_table(subject.counted, step, observer)
                has_drawn |= generator_states() != before
                doubts = () if step.gradients is None else (advice_on_gradients(step.gradients),)
                seed_all(seed)
                opinions = opinions and subject.step is None  # others count a forward pass, not a step of one's own
                theirs: tuple[Answer, ...] = ()
                if opinions:
                    theirs = (ask_torch(subject, workload, step), ask_fvcore(subject, workload, step))
                    if workload.closed_form_flops is not None:
                        theirs += (ask_formula(workload.closed_form_flops(batch_size), step),)
        except Exception as error:  # noqa: BLE001 - a user's model can raise anything; the reason is kept and reported
            reasons.append(f"not on {kind}: {error_text(error)}")
            continue
        said = tuple(answer.opinion for answer in theirs)
        counters = dataclasses.replace(_parameters_of(subject.counted), flops=flops, opinions=said, layers=layers)
        return counters, doubts + find_doubts(flops, theirs), has_drawn
    return *_parameters_only(workload, reasons), False


_KINDS = {"cpu": "real cpu (fp32)"}
_MAX_REASON = 2000


def error_text(error: BaseException) -> str:
    """Format an error as one line, whole but for what is longer than a page."""
    text = f"{input_hint(error)}{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}..."


def _count_subject(subject: Subject, workload: Workload, *, asks_torch: bool) -> tuple[StepFlops, LayerObserver]:
    """Count one step of a built workload, as its mode and precision say."""
    if isinstance(subject.step, OwnStep):
        own = LayerObserver()
        return count_own_step(subject.step, observer=own, cache=subject.cache), own
    if subject.is_training:
        trainable_of(subject.model)
    dtype = autocast_dtype(subject.precision)

    def run(gradients: GradMode, convolutions: ComplexConvolutions | None) -> tuple[StepFlops, LayerObserver]:
        observer = LayerObserver()
        is_other = not subject.is_training and gradients is not torch.inference_mode
        with contextlib.nullcontext() if subject.is_training else gradients():
            step = count_module(
                subject.model,
                subject.inputs,
                backward=subject.is_training,
                loss=(lambda outputs: workload.loss(outputs, subject.targets)) if subject.is_training else None,
                autocast=None if dtype is None else torch.autocast(subject.device_type, dtype=dtype),
                observer=observer,
                convolutions=convolutions,
                cache=subject.cache,
                # Torch's counter runs in full precision, and in inference mode.
                asks_torch=asks_torch and not is_other and dtype is None and convolutions is None,
            )
        return dataclasses.replace(step, gradients=gradients.__name__ if is_other else None), observer

    counted: tuple[StepFlops, LayerObserver] = run_without_gradients(
        lambda mode: run(mode, None), is_training=subject.is_training
    )
    if counted[0].saw_parts:
        counted = run_without_gradients(lambda mode: run(mode, ComplexConvolutions()), is_training=subject.is_training)
    return counted


def advice_on_gradients(mode: str) -> Advice:
    """Report that an inference ran under another mode than `inference_mode`."""
    return Advice(kind=AdviceKind.GRAD_MODE, facts=(("mode", mode),))


def _parameters_only(workload: Workload, reasons: Sequence[str]) -> tuple[Counters, tuple[Advice, ...]]:
    """Count what can be counted of a model that cannot run: its parameters, if it can be built at all."""
    # The last attempt is the one that matters: on real tensors nothing stands between the model and its error.
    facts = (("counter", "all but the parameters"), ("reason", reasons[-1]))
    advice = (Advice(kind=AdviceKind.COUNT_FAILED, facts=facts),)
    for build in (functools.partial(on_meta, workload.build_model), functools.partial(_built_for_real, workload)):
        with contextlib.suppress(Exception):  # it could not be built so; the reasons say why
            return _parameters_of(build()), advice
    return Counters(), advice


def _parameters_of(model: nn.Module) -> Counters:
    totals = count_parameters(model)
    return Counters(
        parameters=totals.parameters, trainable_parameters=totals.trainable_parameters, buffers=totals.buffers
    )


def _built_for_real(workload: Workload) -> nn.Module:
    """Build what meta tensors cannot be: a quantised model packs its weights."""
    refuse_large_workload(workload)
    return build_eagerly(workload)


def _run_backward(module: nn.Module, inputs: Any, loss: torch.Tensor) -> None:
    """Run backward and put the gradients back as they were."""
    leaves = [tensor for tensor in (*tensors_in(inputs), *module.parameters()) if tensor.is_leaf]
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
    sums = [tensor.sum() for tensor in tensors_in(outputs) if tensor.requires_grad]
    if not sums:
        raise ValueError("a backward count was asked for, but no output requires a gradient; give inputs that do")
    return torch.stack(sums).sum() if len(sums) > 1 else sums[0]
