"""Build what a cell asks for on its device: the model, a batch and the optimizer, as one `Step`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch

from bench.core.cell import Cell, CompileMode, MemoryFormat, Mode, Precision
from bench.core.errors import ModelError
from bench.core.workload import Workload
from bench.device.backend import backend_of
from bench.device.batch import cast, channels_last, make_batch, weights_channels_last
from bench.device.gradients import asked_mode
from bench.device.ranks import Ranks
from bench.device.settings import cell_settings
from bench.device.step import LongStep, OwnStep, Step, needs_closure, networks_of
from bench.registry.optimizers import make_optimizer


def autocast_dtype(precision: Precision) -> torch.dtype | None:
    """Return the dtype of autocast in a precision; None without autocast."""
    name = precision.row.autocasts_to
    return None if name is None else getattr(torch, name)


def cast_dtype(precision: Precision) -> torch.dtype | None:
    """Return the dtype that a precision casts the whole model to; None if it stays fp32."""
    name = precision.row.casts_to
    return None if name is None else getattr(torch, name)


@contextlib.contextmanager
def prepare(workload: Workload, cell: Cell, *, device: str | None = None, ranks: Ranks | None = None) -> Iterator[Step]:
    """Build the model, a batch and the optimizer as the cell asks; global switches are restored on leaving.

    Args:
        workload: What to build.
        cell: Mode, batch size, device, precision, optimizer, compile mode, layout, threads and seed.
        device: Put the tensors here instead of on the cell's device. For counters, on fake or meta tensors: nothing is
            compiled then, and no GradScaler is used, because it reads a value on the host.
        ranks: Ranks that train together; this process is one of them.

    Raises:
        ModelError: There is nothing to train, or the cell asks for what the step cannot do.
    """
    is_counted = device is not None
    target = torch.device(device or cell.device)
    if not is_counted:
        backend_of(cell.device).start()
    with cell_settings(cell):
        model = _build(workload, target, cell)
        if ranks is not None:
            ranks.seed_data(cell.seed)
        inputs, targets = make_batch(workload, cell.batch_size, target)
        whole = cast_dtype(cell.precision)
        if whole is not None:
            model = model.to(whole)
            inputs, targets = cast((inputs, targets), whole)
        if cell.memory_format is MemoryFormat.CHANNELS_LAST:
            model = weights_channels_last(model)
            inputs = channels_last(inputs)
        model.train(cell.mode is Mode.TRAIN)
        if ranks is not None:
            model = ranks.share(model, cell)
        make = _step_maker(workload, cell, model, target, is_shared=ranks is not None)
        dtype = autocast_dtype(cell.precision)
        is_scaled = cell.precision.row.is_scaled and cell.mode is Mode.TRAIN and not is_counted
        if cell.compile is not CompileMode.NONE and not is_counted:
            model.compile(mode=None if cell.compile is CompileMode.DEFAULT else cell.compile.value)
        yield make(
            model=model,
            batch=(inputs, targets),
            loss=workload.loss,
            autocast=(target.type if target.type != "meta" else "cpu", dtype) if dtype else None,
            scaler=torch.amp.GradScaler(target.type) if is_scaled else None,
        )


def _build(workload: Workload, target: torch.device, cell: Cell) -> torch.nn.Module:
    """Build the model on its device; on the CPU, and moved, where its constructor needs values that NumPy can read."""
    try:
        with torch.device(target):
            return workload.build_model()
    except TypeError as error:
        if target.type == "cpu" or "device type tensor to numpy" not in str(error):
            raise
    with cell_settings(cell):  # seeds again
        return workload.build_model().to(target)


def _step_maker(
    workload: Workload, cell: Cell, model: torch.nn.Module, device: torch.device, *, is_shared: bool
) -> Callable[..., Step]:
    """Choose the kind of step, with its optimizer or its state."""
    if cell.mode is not Mode.TRAIN:
        return functools.partial(Step, optimizer=None, gradients=asked_mode(cell.grad_mode))
    if workload.train_step is not None:
        return functools.partial(
            OwnStep,
            train_step=workload.train_step,
            state=make_state(workload, cell, model, device, is_shared=is_shared),
        )
    trainable = trainable_of(model)
    optimizer = (
        workload.make_optimizer(trainable) if cell.optimizer is None else make_optimizer(cell.optimizer, trainable)
    )
    has_closure = needs_closure(optimizer)
    if has_closure and cell.precision.row.is_scaled:
        raise ModelError(
            f"{type(optimizer).__name__} evaluates the model in a closure, which torch's GradScaler (fp16-amp) does "
            "not support; measure bf16-amp or fp32"
        )
    if cell.accumulate == 1 and cell.clip_norm is None and not has_closure:
        return functools.partial(Step, optimizer=optimizer)
    return functools.partial(LongStep, optimizer=optimizer, accumulate=cell.accumulate, clip_norm=cell.clip_norm)


def trainable_of(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Return the parameters that training changes.

    Raises:
        ModelError: There is none: of a quantised model, say, whose weights are packed.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise ModelError("the model has no trainable parameter, so there is nothing to train; add --mode infer")
    return trainable


def make_state(
    workload: Workload, cell: Cell, model: torch.nn.Module, device: torch.device, *, is_shared: bool = False
) -> Any:
    """Make the state of a step of one's own; further networks in it follow the cell's precision and layout.

    Raises:
        ModelError: The cell asks for what such a step does itself, or several processes cannot share what is in it.
    """
    asked = [
        option
        for option, is_asked in (
            ("--optimizer", cell.optimizer is not None),
            ("--accumulate", cell.accumulate != 1),
            ("--clip-norm", cell.clip_norm is not None),
        )
        if is_asked
    ]
    if asked:
        raise ModelError(
            f"model {cell.model!r} has a train_step of its own, which does that itself; leave out {', '.join(asked)}"
        )
    with torch.device(device):
        state = None if workload.make_state is None else workload.make_state(model)
    further = [network for network in networks_of(model, state).values() if network is not model]
    if further and is_shared:
        raise ModelError(
            f"the state of {cell.model!r} holds a network of its own, whose gradients several processes would not "
            "share; measure it with --world-size 1"
        )
    for network in further:
        if (whole := cast_dtype(cell.precision)) is not None:
            network.to(whole)
        if cell.memory_format is MemoryFormat.CHANNELS_LAST:
            weights_channels_last(network)
    return state
