"""Second opinions: what torch's own counter, fvcore and the model's closed form say, and why they differ from ours.

A cause is derived from the operations that really ran: both counts are split by operation (torch) or by family and by
what was skipped (fvcore), and the parts that differ are named with both figures.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from bench.core.cell import Mode, Precision
from bench.core.record import Opinion
from bench.core.workload import Workload
from bench.counters.build import REAL_TENSORS, ZEROS, Subject, build_on, refuse_large
from bench.counters.cache import Remembering
from bench.counters.modules import LOSS
from bench.counters.tally import PhaseFlops, StepFlops, operation_name
from bench.device.batch import arguments, call

_FVCORE_LIMIT = 10**11
"""Forward FLOPs above which fvcore is not asked: it runs the model on real tensors, seconds for 0.1 TFLOPs."""

_FVCORE_PRODUCTS = {
    "conv": ("conv",),
    "products": ("linear", "addmm", "mm", "bmm", "matmul", "einsum"),
}
_FVCORE_BLIND = frozenset(
    {
        "_native_multi_head_attention",
        "_transformer_encoder_layer_fwd",
        "_trilinear",
        "addbmm",
        "addmv",
        "baddbmm",
        "bilinear",
        "cdist",
        "dot",
        "gru",
        "gru_cell",
        "inner",
        "linalg_multi_dot",
        "lstm",
        "lstm_cell",
        "mv",
        "rnn_relu",
        "rnn_relu_cell",
        "rnn_tanh",
        "rnn_tanh_cell",
        "scaled_dot_product_attention",
        "tensordot",
        "vdot",
    }
)
"""Operations with products inside that fvcore passes over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What another counter says, and the phases in which nobody knows why it differs from ours.

    A phase without a difference, or with one whose cause is known, is not among them.
    """

    opinion: Opinion
    unexplained: tuple[str, ...] = ()


def ask_torch(subject: Subject, workload: Workload, ours: StepFlops) -> Answer:
    """Count the same step with the formulas of `torch.utils.flop_counter.FlopCounterMode`, on the same tensors.

    The step runs once more under it where our own count could not note what its formulas say on the way.
    """
    try:
        forward, backward = _run_torch(subject, workload) if ours.torchs is None else ours.torchs
        backward = backward if subject.is_training else None
    except Exception as error:  # noqa: BLE001 - a counter that fails is an opinion not given
        note = f"could not count: {type(error).__name__}: {_first_line(error)}"
        return Answer(opinion=Opinion(counter="torch", note=note))
    finally:
        subject.model.zero_grad(set_to_none=True)
    causes, unexplained = [], []
    for phase, counts in (("forward", forward), ("backward", backward)):
        if counts is not None:
            found, is_explained = _torch_causes(phase, counts, ours.operations)
            causes += found
            unexplained += [] if is_explained else [phase]
    opinion = Opinion(
        counter="torch",
        forward_flops=forward.total(),
        backward_flops=None if backward is None else backward.total(),
        note="; ".join(causes) or None,
    )
    return Answer(opinion=opinion, unexplained=tuple(unexplained))


def _run_torch(subject: Subject, workload: Workload) -> tuple[Counter[str], Counter[str] | None]:
    """Run the step under torch's counter; return FLOPs by operation, forward and backward."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _NoModules()  # type: ignore[assignment]
    below, above = Remembering(subject.cache), Remembering(subject.cache, _counted_by(counter))
    with _quiet(), below, counter, above:
        with torch.inference_mode(not subject.is_training):
            outputs = call(subject.model, subject.inputs)
        if not subject.is_training:
            return _by_operation(counter), None
        loss = workload.loss(outputs, subject.targets)
        forward = _by_operation(counter)
        loss.backward()  # type: ignore[no-untyped-call]
        return forward, _by_operation(counter) - forward


class _NoModules:
    """Stands in for what follows the modules of a model: totals need none, and its hooks take half of the time."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def _counted_by(counter: FlopCounterMode) -> Callable[[Any], bool]:
    """Say which operations torch's counter looks at: those with a formula, and those that it takes apart."""
    known: dict[Any, bool] = {}

    def passes(operation: Any) -> bool:
        found = known.get(operation)
        if found is None:
            is_plain = isinstance(operation, torch._ops.OpOverload)
            found = not is_plain or operation._can_decompose() or operation.overloadpacket in counter.flop_registry
            known[operation] = found
        return found

    return passes


def _by_operation(counter: FlopCounterMode) -> Counter[str]:
    counts = counter.get_flop_counts().get("Global", {})
    return Counter({str(operation): flops for operation, flops in counts.items()})


def _torch_causes(phase: str, theirs: Mapping[str, int], ours: Mapping[str, PhaseFlops]) -> tuple[list[str], bool]:
    """Name each operation on which both differ in one phase, with both figures and what explains them, if anything."""
    causes, is_explained = [], True
    known = {operation_name(operation.default) for operation in flop_registry if hasattr(operation, "default")}
    for name in sorted({*theirs, *ours}):
        row = ours.get(name, PhaseFlops())
        model, executed, plain = (
            (row.forward, row.executed_forward, row.plain_forward)
            if phase == "forward"
            else (row.backward, row.executed_backward, row.plain_backward)
        )
        other = theirs.get(name, 0)
        if other == model:
            continue
        if other == executed != plain:
            why = ": it counts what is computed again as the model's"
        elif other == 0 and name not in known:
            why = ": it has no formula"
        elif other == plain and name == "aten.convolution_backward" and not _has_complex(ours):
            why = ": its formula forgets the groups of the weight gradient"
        elif other == plain:
            why = ": it takes sparse and complex tensors for dense and real ones"
        else:
            why, is_explained = "", False
        causes.append(f"{phase} {name} {other:,} against {model:,}{why}")
    return causes, is_explained


def _has_complex(ours: Mapping[str, PhaseFlops]) -> bool:
    """Whether convolutions were of complex tensors: forward, torch's formula knows groups, and not those."""
    forward = ours.get("aten.convolution", PhaseFlops())
    return forward.plain_forward != forward.forward


def ask_fvcore(subject: Subject, workload: Workload, ours: StepFlops) -> Answer:
    """Count the forward pass with fvcore: its products and convolutions only, MACs doubled.

    fvcore also counts normalisation, pooling and interpolation by rules of its own; those are left out here.
    """
    if (ours.flops.forward or 0) > _FVCORE_LIMIT:
        note = "not asked: it would run this step on real tensors; ask at a smaller batch"
        return Answer(opinion=Opinion(counter="fvcore", note=note))
    try:
        with _quiet():  # it defines TorchScript functions when it is imported, which torch warns about
            from fvcore.nn import FlopCountAnalysis, jit_handles
    except ImportError as error:
        return Answer(opinion=Opinion(counter="fvcore", note=f"not installed: {_first_line(error)}"))
    mode = Mode.TRAIN if subject.is_training else Mode.INFER

    def ask(kind: str) -> tuple[Mapping[str, float], Mapping[str, int], int]:
        options: dict[str, Any] = {"mode": mode, "batch_size": subject.batch_size, "precision": Precision.FP32}
        cheaply = _convolutions_of_zeros() if kind == ZEROS else contextlib.nullcontext()
        with unset_fake_temporarily(), build_on(kind, workload, **options) as real, cheaply:
            return _trace(real, FlopCountAnalysis, jit_handles)

    try:
        refuse_large(subject.model)
        try:
            macs, skipped, unseen = ask(REAL_TENSORS if subject.kind == REAL_TENSORS else ZEROS)
        except Exception:  # noqa: BLE001 - zeros may have no inverse, a constant may lie on meta: only numbers will do
            macs, skipped, unseen = ask(REAL_TENSORS)
    except Exception as error:  # noqa: BLE001 - a counter that fails is an opinion not given
        note = f"could not count: {type(error).__name__}: {_first_line(error)}"
        return Answer(opinion=Opinion(counter="fvcore", note=note))
    theirs = {family: 2 * int(sum(macs[name] for name in names)) for family, names in _FVCORE_PRODUCTS.items()}
    total = sum(theirs.values())
    causes, is_explained = _fvcore_causes(theirs, skipped, 2 * unseen, ours)
    return Answer(
        opinion=Opinion(counter="fvcore", forward_flops=total, note="; ".join(causes) or None),
        unexplained=() if is_explained else ("forward",),
    )


def _trace(subject: Subject, analyse: Any, handles: Any) -> tuple[Mapping[str, float], Mapping[str, int], int]:
    """Return multiply-accumulates by operation, what was skipped, and what the broadcast of matmul leaves out."""
    unseen = 0

    def matmul(inputs: Any, outputs: Any) -> Any:
        """Count as fvcore does, by the first operand's batch, and note what the output's batch has more."""
        nonlocal unseen
        macs = handles.matmul_flop_jit(inputs, outputs)
        unseen += prod(handles.get_shape(outputs[0])) * handles.get_shape(inputs[0])[-1] - int(macs)
        return macs

    with _quiet(), torch.no_grad():
        analysis = analyse(*_positional(subject))
        analysis.set_op_handle("aten::matmul", matmul)
        return analysis.by_operator(), analysis.unsupported_ops(), unseen


@contextlib.contextmanager
def _convolutions_of_zeros() -> Iterator[None]:
    """Let convolutions on the CPU return zeros without computing them: half of a trace's time, the graph is the same.

    A dispatch mode would not do: it takes a convolution before the tracer sees it, which then has no graph.
    """
    library: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    with _quiet():  # torch warns about a second kernel
        library.impl("_convolution", _zeros_of_convolution, "CPU")
    try:
        yield
    finally:
        library._destroy()


def _zeros_of_convolution(
    inputs: torch.Tensor,
    weight: torch.Tensor,
    _: torch.Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    is_transposed: bool,
    output_padding: list[int],
    groups: int,
    *_flags: bool,
) -> torch.Tensor:
    """Return zeros in the shape of a convolution; torch's meta kernels refuse the sizes of traced tensors."""

    def at(values: list[int], axis: int) -> int:
        return int(values[axis if len(values) > 1 else 0])

    channels = int(weight.shape[1]) * groups if is_transposed else int(weight.shape[0])
    shape = [int(inputs.shape[0]), channels]
    for axis in range(inputs.dim() - 2):
        size, reach = int(inputs.shape[2 + axis]), at(dilation, axis) * (int(weight.shape[2 + axis]) - 1)
        if is_transposed:
            beyond = reach + at(output_padding, axis) + 1
            shape.append((size - 1) * at(stride, axis) - 2 * at(padding, axis) + beyond)
        else:
            shape.append((size + 2 * at(padding, axis) - reach - 1) // at(stride, axis) + 1)
    zeros = torch.zeros(shape, dtype=inputs.dtype)
    is_channels_last = inputs.dim() == 4 and not inputs.is_contiguous()
    if is_channels_last and inputs.is_contiguous(memory_format=torch.channels_last):
        return zeros.contiguous(memory_format=torch.channels_last)
    return zeros


def _positional(subject: Subject) -> tuple[nn.Module, tuple[Any, ...]]:
    """Return a module and the inputs that it takes by position: fvcore knows no keywords."""
    positional, keywords = arguments(subject.inputs)
    if not keywords:
        return subject.model, positional
    tensors = {name: value for name, value in keywords.items() if isinstance(value, torch.Tensor)}
    others = {name: value for name, value in keywords.items() if name not in tensors}
    return _ByPosition(subject.model, tuple(tensors), others), tuple(tensors.values())


class _ByPosition(nn.Module):
    def __init__(self, model: nn.Module, names: tuple[str, ...], others: dict[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.names = names
        self.others = others

    def forward(self, *values: torch.Tensor) -> Any:
        return self.model(**dict(zip(self.names, values, strict=True)), **self.others)


def _fvcore_causes(
    theirs: Mapping[str, int], skipped: Mapping[str, int], broadcast: int, ours: StepFlops
) -> tuple[list[str], bool]:
    """Name which family differs, what fvcore passed over and does not see, and whether that explains the difference.

    What it passes over explains that it counts fewer products; no figure can be put to it, because below autograd such
    an operation may arrive in parts.
    """
    total = sum(theirs.values())
    if total == ours.flops.forward:
        return [], True
    is_convolution = {name: "convolution" in name for name in ours.operations}
    own = {
        "conv": sum(row.forward for name, row in ours.operations.items() if is_convolution[name]),
        "products": sum(row.forward for name, row in ours.operations.items() if not is_convolution[name]),
    }
    plain = sum(row.plain_forward for row in ours.operations.values())
    causes = [f"{family} {theirs[family]:,} against {own[family]:,}" for family in own if theirs[family] != own[family]]
    counted = {name.replace(".", "::", 1) for name, row in ours.operations.items() if row.forward}  # a user's own too
    passed_over = [
        f"{name.partition('::')[2]} x{calls}"
        for name, calls in sorted(skipped.items())
        if name in counted or name.partition("::")[2] in _FVCORE_BLIND
    ]
    if passed_over:
        causes.append(f"it passes over {', '.join(passed_over)}")
    loss = ours.layers.get(LOSS, PhaseFlops())
    if loss.forward:
        causes.append(f"it does not see the loss, {loss.forward:,}")
    if plain != ours.flops.forward:
        causes.append(f"it takes sparse and complex tensors for dense and real ones, {plain:,}")
    if broadcast:
        causes.append(f"it ignores the batches to which matmul broadcasts its first operand, {broadcast:,}")
    missing = plain - loss.plain_forward - broadcast - total
    return causes, missing == 0 or (missing > 0 and bool(passed_over) and theirs["conv"] == own["conv"])


def ask_formula(flops: int, ours: StepFlops) -> Answer:
    """Compare with the model's own formula of its forward pass, which leaves out the loss."""
    loss = ours.layers.get(LOSS, PhaseFlops()).forward
    model = (ours.flops.forward or 0) - loss
    note = None if flops == model else f"the model states {flops:,}, its operations sum to {model:,}"
    if loss:
        note = "; ".join(filter(None, (note, f"the formula leaves out the loss, {loss:,}")))
    opinion = Opinion(counter="closed-form", forward_flops=flops, note=note)
    return Answer(opinion=opinion, unexplained=() if flops == model else ("forward",))


@contextlib.contextmanager
def _quiet() -> Any:
    """Silence other counters' warnings and logs, and restore both."""
    logger = logging.getLogger("fvcore")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
