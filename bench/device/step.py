"""One step of a workload on a device: built once, then run whole or phase by phase.

The four phases called one after the other are the whole step: `Step.__call__` runs the same four methods, so timing the
phases and timing the step run the same code. `measure` times a step, `counters` counts it; neither builds one.

    with prepare(workload, cell) as step:
        step()                        # a whole step
        outputs = step.forward()      # or its phases
        loss = step.compute_loss(outputs)
        step.backward(loss)
        step.optimize()
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from bench.core.cell import Cell, CompileMode, MemoryFormat, Mode, Precision
from bench.core.workload import Batch, Workload
from bench.device.batch import arguments, cast, channels_last, make_batch, weights_channels_last
from bench.device.ranks import Ranks
from bench.device.settings import cell_settings
from bench.registry.optimizers import make_optimizer

_AUTOCAST = {Precision.BF16_AMP: torch.bfloat16, Precision.FP16_AMP: torch.float16}


GradMode = type[torch.inference_mode] | type[torch.no_grad] | type[torch.enable_grad]
"""How a forward pass keeps no gradients: `torch.inference_mode` and, for models that differentiate, what follows it."""

_GRAD_MODES: tuple[GradMode, ...] = (torch.inference_mode, torch.no_grad, torch.enable_grad)


def run_without_gradients(run: Callable[[GradMode], Any], *, is_training: bool) -> Any:
    """Call `run` in inference mode; where the model differentiates in its forward pass, in the next mode that works.

    Raises:
        Exception: What `run` raised in inference mode, if no other mode helps.
    """
    try:
        return run(_GRAD_MODES[0])
    except RuntimeError as error:
        if is_training or not is_about_gradients(error):
            raise
        for mode in _GRAD_MODES[1:]:
            with contextlib.suppress(RuntimeError):
                return run(mode)
        raise


def is_about_gradients(error: RuntimeError) -> bool:
    """Whether autograd refused because it was off: not out of memory, not a wrong shape."""
    return any(words in str(error) for words in ("require grad", "requires_grad", "nference tensor", "InferenceMode"))


class Step:
    """One training step (or one inference) of a model on one batch, which stays on the device.

    Attributes:
        model: On its device, in its precision and layout; compiled if the cell asks.
        optimizer: None in infer mode.
        is_training: Whether `__call__` runs all four phases.
        scaler: The GradScaler of fp16-amp, else None.
    """

    def __init__(
        self,
        *,
        model: torch.nn.Module,
        batch: Batch,
        loss: Any,
        optimizer: torch.optim.Optimizer | None,
        autocast: tuple[str, torch.dtype] | None = None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.model = model
        self.batch = batch
        self.optimizer = optimizer
        self.is_training = optimizer is not None
        self._loss = loss
        self._autocast = autocast
        self.scaler = scaler
        self.gradients: GradMode = torch.inference_mode

    @property
    def batch(self) -> Batch:
        """`(inputs, targets)` of the step; inputs are a tuple (positional) or a mapping (keywords)."""
        return self._batch

    @batch.setter
    def batch(self, batch: Batch) -> None:
        self._batch = batch
        self._positional, self._keywords = arguments(batch[0])
        self._targets = batch[1]

    def forward(self) -> Any:
        """Run the model under the cell's autocast; without gradients in infer mode. Does not synchronise."""
        if not self.is_training:
            return self._infer()
        if self._autocast is None:
            return self.model(*self._positional, **self._keywords)
        with self._precision():
            return self.model(*self._positional, **self._keywords)

    @property
    def fallback_mode(self) -> str | None:
        """Name of the mode in which an inference runs, where it is not `inference_mode`."""
        return None if self.gradients is torch.inference_mode else self.gradients.__name__

    def _infer(self) -> Any:
        try:
            with self.gradients(), self.precision():
                return self.model(*self._positional, **self._keywords)
        except RuntimeError as error:
            if self.gradients is not torch.inference_mode or not is_about_gradients(error):
                raise
            return run_without_gradients(self._infer_in, is_training=False)

    def _infer_in(self, mode: GradMode) -> Any:
        """Run the model in a gradient mode, and stay in it once it has worked."""
        with mode(), self.precision():
            outputs = self.model(*self._positional, **self._keywords)
        self.gradients = mode
        return outputs

    def compute_loss(self, outputs: Any) -> torch.Tensor:
        """Compute the scalar loss under the cell's autocast."""
        if self._autocast is None:
            return self._loss(outputs, self._targets)  # type: ignore[no-any-return]
        with self._precision():
            return self._loss(outputs, self._targets)  # type: ignore[no-any-return]

    def backward(self, loss: torch.Tensor) -> None:
        """Fill the gradients; of the scaled loss in fp16-amp."""
        if self.scaler is not None:
            loss = self.scaler.scale(loss)
        loss.backward()  # type: ignore[no-untyped-call]

    def optimize(self) -> None:
        """Update the weights and drop the gradients (`set_to_none`); in fp16-amp through the GradScaler.

        Dropping the gradients belongs to this phase: what it costs, the optimizer's user pays.
        """
        assert self.optimizer is not None
        if self.scaler is not None:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def __call__(self) -> torch.Tensor | None:
        """Run one whole step; return the loss (attached to a freed graph), or None in infer mode."""
        outputs = self.forward()
        if not self.is_training:
            return None
        loss = self.compute_loss(outputs)
        self.backward(loss)
        self.optimize()
        return loss

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """Enter the cell's autocast, for work beside the four phases; nothing where it has none."""
        return contextlib.nullcontext() if self._autocast is None else self._precision()

    def _precision(self) -> torch.autocast:
        assert self._autocast is not None
        device_type, dtype = self._autocast
        return torch.autocast(device_type, dtype=dtype)


@contextlib.contextmanager
def prepare(workload: Workload, cell: Cell, *, device: str | None = None, ranks: Ranks | None = None) -> Iterator[Step]:
    """Build the model, a batch and the optimizer as the cell asks; global switches are restored on leaving.

    Args:
        workload: What to build.
        cell: Mode, batch size, device, precision, optimizer, compile mode, layout, threads and seed.
        device: Put the tensors here instead of on the cell's device. For counters, on fake or meta tensors: nothing is
            compiled then, and no GradScaler is used, because it reads a value on the host.
        ranks: Those that train together; this process is one of them.
    """
    is_counted = device is not None
    target = torch.device(device or cell.device)
    with cell_settings(cell):
        with torch.device(target):
            model = workload.build_model()
        if ranks is not None:
            ranks.seed_data(cell.seed)
        inputs, targets = make_batch(workload, cell.batch_size, target)
        if cell.precision is Precision.BF16:
            model = model.to(torch.bfloat16)
            inputs, targets = cast((inputs, targets), torch.bfloat16)
        if cell.memory_format is MemoryFormat.CHANNELS_LAST:
            model = weights_channels_last(model)
            inputs = channels_last(inputs)
        model.train(cell.mode is Mode.TRAIN)
        if ranks is not None:
            model = ranks.share(model, cell)
        optimizer = None
        if cell.mode is Mode.TRAIN:
            trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
            optimizer = (
                workload.make_optimizer(trainable)
                if cell.optimizer is None
                else make_optimizer(cell.optimizer, trainable)
            )
        dtype = _AUTOCAST.get(cell.precision)
        is_scaled = cell.precision is Precision.FP16_AMP and cell.mode is Mode.TRAIN and not is_counted
        if cell.compile is not CompileMode.NONE and not is_counted:
            model.compile(mode=None if cell.compile is CompileMode.DEFAULT else cell.compile.value)
        yield Step(
            model=model,
            batch=(inputs, targets),
            loss=workload.loss,
            optimizer=optimizer,
            autocast=(target.type if target.type != "meta" else "cpu", dtype) if dtype else None,
            scaler=torch.amp.GradScaler(target.type) if is_scaled else None,
        )
