"""A step on fake CPU tensors: every operation is dispatched, nothing is computed and nothing is allocated.

Why fake *CPU* tensors whatever the cell's device: on meta, attention takes another path (+11 % memory), and fake CUDA
tensors raise in backward where there is no driver. With the corrections of `corrections.py`, fake CPU tensors equal the
real CPU run to the bit. They stand in for an accelerator with these differences:

- autocast keeps fewer operations in fp32 on the CPU than on CUDA;
- recurrent layers use oneDNN's workspace instead of cuDNN's reserve;
- a GradScaler (fp16-amp) is left out: its few scalars and operations are missing, because it reads a value.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
from collections.abc import Callable, Iterator

import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from bench.core.cell import Cell, CompileMode, MemoryFormat, Precision
from bench.core.errors import ModelError
from bench.core.workload import Batch, Workload
from bench.counters.build import on_meta
from bench.counters.corrections import CorrectedFakeMode
from bench.device.step import Step, prepare

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
        precision=Precision.FP32 if cell.precision is Precision.BF16 else cell.precision,
        memory_format=MemoryFormat.CONTIGUOUS,
    )
    fakeable = _on_fake_tensors(workload, cell)
    try:
        with CorrectedFakeMode(allow_non_fake_inputs=True), prepare(fakeable, plain, device="cpu") as step:
            if step.optimizer is not None and not cell.device.startswith("cpu"):
                _choose_foreach(step.optimizer)
            yield step
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise ModelError(
            f"cannot predict {cell.model!r}: its step reads the value of a tensor ({error}); only a real run can tell"
        ) from error


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

    Casting to bf16 and to channels_last happens here and not in `prepare`: `Module.to` refuses fake parameters.
    """
    model = on_meta(workload.build_model)
    if any(torch.nn.parameter.is_lazy(parameter) for parameter in model.parameters()):
        _give_shapes(model, workload, cell)

    def convert(tensor: torch.Tensor) -> torch.Tensor:
        if cell.precision is Precision.BF16 and tensor.is_floating_point():
            tensor = tensor.to(torch.bfloat16)
        if cell.memory_format is MemoryFormat.CHANNELS_LAST and tensor.dim() == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    def build_model() -> torch.nn.Module:
        return _replace_tensors(model, lambda tensor: convert(_fake_like(tensor)))

    def make_batch(batch_size: int, device: str | torch.device) -> Batch:
        inputs, targets = workload.make_batch(batch_size, device)
        if cell.precision is Precision.BF16 and isinstance(targets, torch.Tensor) and targets.is_floating_point():
            targets = targets.to(torch.bfloat16)
        return tuple(convert(value) if isinstance(value, torch.Tensor) else value for value in inputs), targets

    return dataclasses.replace(workload, build_model=build_model, make_batch=make_batch)


def _give_shapes(model: torch.nn.Module, workload: Workload, cell: Cell) -> None:
    """Run lazy modules once on meta: a parameter without a shape has no bytes to track."""
    inputs, _ = workload.make_batch(cell.batch_size, "meta")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model(*inputs)


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
