"""A step on fake CPU tensors: every operation is dispatched, nothing is computed and nothing is allocated.

Why fake *CPU* tensors whatever the cell's device: on meta, attention takes another path (+11 % memory), and fake CUDA
tensors raise in backward where there is no driver. With the corrections of `corrections.py`, fake CPU tensors equal the
real CPU run to the bit. They stand in for an accelerator with these differences:

- autocast keeps fewer operations in fp32 on the CPU than on CUDA;
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
from torch.nn.modules import rnn
from torch.utils import _foreach_utils

from bench.core.cell import Cell, CompileMode, MemoryFormat, Precision
from bench.core.errors import ModelError
from bench.core.workload import Batch, Workload
from bench.counters.accelerated import HALVES, AcceleratedMode
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
    plain = dataclasses.replace(
        cell,
        device="cpu",
        compile=CompileMode.NONE,
        threads=None,
        precision=cell.precision if cast_dtype(cell.precision) is None else Precision.FP32,
        memory_format=MemoryFormat.CONTIGUOUS,
    )
    fakeable = _on_fake_tensors(workload, cell)
    try:
        is_accelerated = is_accelerator(cell.device)
        kernels = AcceleratedMode() if is_accelerated else contextlib.nullcontext()
        with (
            _foreach_as_on_real_tensors(),
            _lstm_as_on_any_processor(),
            CorrectedFakeMode(),
            kernels,
            prepare(fakeable, plain, device="cpu") as step,
        ):
            if is_accelerated:
                for optimizer in step.optimizers:
                    _choose_foreach(optimizer)
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

    Raises:
        MemoryError: The model is too large to be built for real only to be counted.
    """
    refuse_large_workload(workload)
    plain = dataclasses.replace(
        cell,
        device="cpu",
        compile=CompileMode.NONE,
        threads=None,
        precision=Precision.FP32,
        memory_format=MemoryFormat.CONTIGUOUS,
    )
    with prepare(dataclasses.replace(workload, build_model=lambda: build_eagerly(workload)), plain) as step:
        yield step


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


def _choose_foreach(optimizer: torch.optim.Optimizer) -> None:
    """Choose the foreach implementation, as torch does by itself on accelerators but never on the CPU.

    It holds temporaries for all parameters at once, so it moves the peak.
    """
    for group in optimizer.param_groups:
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
        _give_shapes(model, workload, cell)

    def convert(tensor: torch.Tensor) -> torch.Tensor:
        if dtype is not None and tensor.is_floating_point():
            tensor = tensor.to(dtype)
        return batch.channels_last_tensor(tensor) if is_channels_last else tensor

    def build_model() -> torch.nn.Module:
        return _replace_tensors(model, lambda tensor: convert(_fake_like(tensor)))

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


def _give_shapes(model: torch.nn.Module, workload: Workload, cell: Cell) -> None:
    """Run lazy modules once on meta: a parameter without a shape has no bytes to track."""
    inputs, _ = batch.make_batch(workload, cell.batch_size, "meta")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        batch.call(model, inputs)


def _fake_like(tensor: torch.Tensor) -> torch.Tensor:
    """Make a fake CPU tensor of the same type and layout; only under a fake mode."""
    return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="cpu")


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
