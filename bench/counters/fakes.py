"""A step on fake CPU tensors: every operation is dispatched, nothing is computed and nothing is allocated.

Why fake *CPU* tensors whatever the cell's device: on meta, attention takes another path (+11 % memory), and fake CUDA
tensors raise in backward where there is no driver. With the corrections below, fake CPU tensors equal the
real CPU run to the bit. They stand in for an accelerator with these differences:

- recurrent layers keep oneDNN's workspace, by formula, instead of cuDNN's reserve;
- a GradScaler (fp16-amp) is left out: its few scalars and operations are missing, because it reads a value.

Fake tensors whose outputs are corrected where torch's fake kernels differ from the real ones of the CPU.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensor
from torch.nn import functional
from torch.nn.modules import rnn
from torch.overrides import TorchFunctionMode
from torch.utils import _foreach_utils

from bench.core.cell import Cell, CompileMode, MemoryFormat, Precision
from bench.core.errors import ModelError
from bench.core.workload import Batch, Workload
from bench.counters.autocast import autocast_as_on_accelerators
from bench.counters.build import CopiesFakes, build_eagerly, on_meta, refuse_large_workload
from bench.counters.cache import FakeMode
from bench.device import batch
from bench.device.backend import is_accelerator
from bench.device.prepare import cast_dtype, prepare
from bench.device.step import Step


class CorrectedFakeMode(FakeMode):  # type: ignore[no-untyped-call]
    """Makes every new tensor a fake one; `_CORRECTIONS` names the operations whose outputs it corrects."""

    def run(self, func: Any, types: Any, args: Sequence[Any], kwargs: Mapping[str, Any], is_plain: bool) -> Any:
        """Run the fake kernel, then correct what it returned."""
        outputs = super().run(func, types, args, kwargs, is_plain)
        correct = _CORRECTIONS.get(func)
        if correct is None:
            return outputs
        with self:
            return correct(outputs, args)


def _add_lstm_workspace(outputs: Any, args: Sequence[Any]) -> Any:
    """Give oneDNN's LSTM the workspace that it keeps for backward; torch's fake kernel returns an empty one.

    Its real size depends on the processor's instructions, and a count must not. So it is oneDNN's layout in fp32
    (gates, states and their gradients: 15 values per unit and time step, 10 more per unit), not rounded to pages.
    """
    inputs, hidden, training = args[0], args[10], args[15]
    if not training:
        return outputs
    steps, batch_size, _ = inputs.shape
    size = 4 * batch_size * hidden * (15 * steps + 10)
    return (*outputs[:3], torch.empty(size, dtype=torch.uint8, device=inputs.device))


def _keep_statistics_wide(outputs: Any, args: Sequence[Any]) -> Any:
    """Keep the saved mean and deviation of batch normalisation in the weight's type, as the real kernel does."""
    weight = args[1]
    if weight is None or outputs[1].dtype is weight.dtype:
        return outputs
    return (outputs[0], outputs[1].to(weight.dtype), outputs[2].to(weight.dtype), *outputs[3:])


def _separate_bias_gradients(outputs: Any, _: Sequence[Any]) -> Any:
    """Give the LSTM's two biases a gradient each; the fake kernel returns one tensor twice, but not from its cache."""
    if outputs[3] is None or outputs[3] is not outputs[4]:
        return outputs
    return (*outputs[:4], outputs[4].clone(), *outputs[5:])


def _keep_unreduced_loss(outputs: Any, args: Sequence[Any]) -> Any:
    """Let a reduced loss keep the memory of the unreduced one: the real kernels compute that and shrink it in place."""
    elements = torch.broadcast_shapes(args[0].shape, args[1].shape).numel()  # type: ignore[no-untyped-call]
    if outputs.dim() != 0 or elements <= 1:
        return outputs
    return torch.empty(elements, dtype=outputs.dtype, device=outputs.device).as_strided((), ())


_CORRECTIONS: dict[Any, Callable[[Any, Sequence[Any]], Any]] = {
    torch.ops.aten.mkldnn_rnn_layer.default: _add_lstm_workspace,
    torch.ops.aten.mkldnn_rnn_layer_backward.default: _separate_bias_gradients,
    torch.ops.aten.native_batch_norm.default: _keep_statistics_wide,
    torch.ops.aten.mse_loss.default: _keep_unreduced_loss,
    torch.ops.aten.smooth_l1_loss.default: _keep_unreduced_loss,
    torch.ops.aten.binary_cross_entropy.default: _keep_unreduced_loss,
    torch.ops.aten.soft_margin_loss.default: _keep_unreduced_loss,
}

_Convert = Callable[[torch.Tensor], torch.Tensor]


@contextlib.contextmanager
def fake_step(workload: Workload, cell: Cell) -> Iterator[Step]:
    """Prepare the cell's step on fake CPU tensors; a compiled cell runs eagerly.

    Global switches and the random state are restored on leaving. The number of threads is left alone.

    Raises:
        ModelError: The step reads the value of a tensor, which a fake one does not have.
    """
    plain = _plain(cell, cell.precision if cast_dtype(cell.precision) is None else Precision.FP32)
    fakeable = _on_fake_tensors(workload, cell)
    try:
        with (
            _foreach_as_on_real_tensors(),
            _lstm_as_on_any_processor(),
            CorrectedFakeMode(),
            _as_on(cell.device) as choose,
            prepare(fakeable, plain, device="cpu") as step,
        ):
            choose(step)
            yield step
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise ModelError(
            f"cannot predict {cell.model!r}: its step reads the value of a tensor ({error}); only a real run can tell"
        ) from error


@contextlib.contextmanager
def _foreach_as_on_real_tensors() -> Iterator[None]:
    """Let `clip_grad_norm_` take all gradients at once, as it does of real ones: it asks for the exact type."""
    _foreach_utils._foreach_supported_types.append(FakeTensor)
    try:
        yield
    finally:
        _foreach_utils._foreach_supported_types.remove(FakeTensor)


@contextlib.contextmanager
def _lstm_as_on_any_processor() -> Iterator[None]:
    """Let an LSTM of halves take torch's own operations: the processor decides whether oneDNN has a kernel for them."""
    functions: Any = rnn._VF  # type: ignore[attr-defined]
    original = functions.lstm

    def lstm(inputs: torch.Tensor, *others: Any) -> Any:
        if inputs.dtype not in HALVES:
            return original(inputs, *others)
        was_enabled = torch._C._get_mkldnn_enabled()
        torch._C._set_mkldnn_enabled(False)
        try:
            return original(inputs, *others)
        finally:
            torch._C._set_mkldnn_enabled(was_enabled)

    functions.lstm = lstm
    try:
        yield
    finally:
        functions.lstm = original


@contextlib.contextmanager
def real_step(workload: Workload, cell: Cell) -> Iterator[Step]:
    """Prepare the cell's step on real CPU tensors, in fp32: for models that read values, which fake tensors lack.

    For an accelerator, attention runs without its dropout: the CPU's fused kernel keeps what an accelerator's does.

    Raises:
        MemoryError: The model is too large to be built for real only to be counted.
    """
    refuse_large_workload(workload)
    eager = dataclasses.replace(workload, build_model=lambda: build_eagerly(workload))
    with _as_on(cell.device, is_real=True) as choose, prepare(eager, _plain(cell, Precision.FP32)) as step:
        choose(step)
        yield step


def _plain(cell: Cell, precision: Precision) -> Cell:
    """Leave out what a step on CPU tensors that is only counted cannot have, or needs not."""
    return dataclasses.replace(
        cell,
        device="cpu",
        compile=CompileMode.NONE,
        threads=None,
        precision=precision,
        memory_format=MemoryFormat.CONTIGUOUS,
    )


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Hold the garbage collector off: when cycles are freed must not depend on luck.

    Old garbage is left alone: it is not what is counted, and collecting takes longer than predicting a small model.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _as_on(device: str, *, is_real: bool = False) -> Iterator[Callable[[Step], None]]:
    """Call an accelerator's operations inside, where the cell is of one; give what chooses those of its optimizers."""
    if not is_accelerator(device):
        yield lambda _: None
        return
    with AcceleratedMode(is_real=is_real), autocast_as_on_accelerators():
        yield _choose_foreach


def _choose_foreach(step: Step) -> None:
    """Choose the foreach implementation, as torch does by itself on accelerators but never on the CPU.

    It holds temporaries for all parameters at once, so it moves the peak.
    """
    for group in (group for optimizer in step.optimizers for group in optimizer.param_groups):
        if "foreach" in group and group["foreach"] is None and not group.get("fused"):
            group["foreach"] = True


def _on_fake_tensors(workload: Workload, cell: Cell) -> Workload:
    """Build the model on meta, where constructors may read constants, and let it turn fake when it is asked for.

    Casting to another type and to channels_last happens here and not in `prepare`: `Module.to` refuses fake parameters.
    """
    is_channels_last = cell.memory_format is MemoryFormat.CHANNELS_LAST
    dtype = cast_dtype(cell.precision)
    model = on_meta(workload.build_model)
    if any(torch.nn.parameter.is_lazy(parameter) for parameter in model.parameters()):
        inputs, _ = batch.make_batch(workload, cell.batch_size, "meta")
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            batch.call(model, inputs)  # a parameter without a shape has no bytes to track

    def convert(tensor: torch.Tensor) -> torch.Tensor:
        tensor = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="cpu")
        if dtype is not None and tensor.is_floating_point():
            tensor = tensor.to(dtype)
        return batch.channels_last_tensor(tensor) if is_channels_last else tensor

    def build_model() -> torch.nn.Module:
        return _replace_tensors(model, convert)

    def make_batch(batch_size: int, device: str | torch.device) -> Batch:
        inputs, targets = batch.make_batch(workload, batch_size, device)
        if dtype is not None:
            inputs, targets = batch.cast((inputs, targets), dtype)
        return batch.channels_last(inputs) if is_channels_last else inputs, targets

    def make_state(model: torch.nn.Module) -> Any:
        assert workload.make_state is not None
        if dtype is None:
            with CopiesFakes():
                return workload.make_state(model)
        # Its networks are made in that type: `prepare` cannot cast fake parameters, which an optimizer may hold.
        default = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with CopiesFakes():
                return workload.make_state(model)
        finally:
            torch.set_default_dtype(default)

    return dataclasses.replace(
        workload,
        build_model=build_model,
        make_batch=make_batch,
        make_state=None if workload.make_state is None else make_state,
    )


def _replace_tensors(model: torch.nn.Module, convert: _Convert) -> torch.nn.Module:
    """Replace every tensor that the modules hold as an attribute; what was shared stays shared."""
    replaced: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # keeps the old ones, so that no id is used again

    def replace(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in replaced:
            new = convert(tensor)
            if isinstance(tensor, torch.nn.Parameter):
                new = torch.nn.Parameter(new, requires_grad=tensor.requires_grad)
            replaced[id(tensor)] = (tensor, new)
        return replaced[id(tensor)][1]

    for module in model.modules():
        for held in (module._parameters, module._buffers, vars(module)):
            for name, value in list(held.items()):
                if isinstance(value, torch.Tensor) and not torch.nn.parameter.is_lazy(value):
                    setattr(module, name, replace(value))  # not `held[name]`: recurrent layers keep a list of theirs
    return model


_LARGEST_HEAD = 256
HALVES = (torch.float16, torch.bfloat16)


class AcceleratedMode(TorchFunctionMode):
    """Calls an accelerator's operations where the CPU's functions would take others, which keep far more for backward.

    On the CPU, attention with dropout keeps matrices of every query with every key, and dropout a mask of floats.
    CUDA's kernels draw dropout inside attention, and keep a mask of one byte per value (`native_dropout`, ATen's
    Dropout.cpp). Read in torch's sources, not measured on a GPU.

    On real tensors, which those kernels do not take, attention is the CPU's fused one, without dropout: it keeps as
    much.
    """

    def __init__(self, *, is_real: bool = False) -> None:
        super().__init__()
        self._is_real = is_real

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace attention and dropout; everything else runs as it is."""
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            return _attention(*args, is_real=self._is_real, **kwargs)
        if func is functional.dropout:
            return _dropout(*args, **kwargs)
        return func(*args, **kwargs)


def _dropout(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:  # noqa: A002
    if not training or inplace or not 0 < p < 1:
        return functional.dropout(input, p, training, inplace)
    return torch.native_dropout(input, p, True)[0]


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    is_real: bool = False,
) -> torch.Tensor:
    """Choose the kernel as CUDA does: flash for half precision without a mask, else the memory-efficient one."""
    if torch.is_autocast_enabled("cpu"):  # these operations stand in no list of autocast
        dtype = torch.get_autocast_dtype("cpu")
        query, key, value = (one.to(dtype) if one.is_floating_point() else one for one in (query, key, value))
    heads = {one.shape[-1] for one in (query, key, value)}
    is_fused = query.dim() == 4 and len(heads) == 1 and max(heads) <= _LARGEST_HEAD and not enable_gqa
    if not is_fused or query.dtype not in (*HALVES, torch.float32):
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    if is_real:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask, 0.0, is_causal, scale=scale)
    kernels = torch.ops.aten
    if attn_mask is None and query.dtype in HALVES:
        found = kernels._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, scale=scale)
    else:
        shape = (*query.shape[:3], key.shape[2])
        bias = None if attn_mask is None else _bias(attn_mask, query.dtype).expand(shape)
        keeps = any(one.requires_grad for one in (query, key, value))
        found = kernels._scaled_dot_product_efficient_attention(
            query, key, value, bias, keeps, dropout_p, is_causal, scale=scale
        )
    out: torch.Tensor = found[0]
    return out


def _bias(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, -torch.inf) if mask.dtype is torch.bool else mask
