"""One step of a workload on a device: built once, then run whole or phase by phase, with marks around the phases.

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
import inspect
from collections.abc import Callable
from typing import Any

import torch

from bench.core.errors import ModelError
from bench.core.record import UNMARKED, Phase, phase_of
from bench.core.workload import Batch, leaves, paths
from bench.device.batch import arguments
from bench.device.gradients import GradMode, is_about_gradients, run_without_gradients


class Step:
    """One training step (or one inference) of a model on one batch, which stays on the device.

    Attributes:
        model: Model on its device, in its precision and layout; compiled if the cell asks.
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
        is_training: bool | None = None,
        autocast: tuple[str, torch.dtype] | None = None,
        scaler: torch.amp.GradScaler | None = None,
        gradients: GradMode | None = None,
    ) -> None:
        self.model = model
        self.batch = batch
        self.optimizer = optimizer
        self.is_training = optimizer is not None if is_training is None else is_training
        self._loss = loss
        self._autocast = autocast
        self.scaler = scaler
        self.gradients: GradMode = gradients or torch.inference_mode
        self._is_asked = gradients is not None

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
        """Name of the mode that an inference fell back to; None if that was not needed, or asked for."""
        return None if self._is_asked or self.gradients is torch.inference_mode else self.gradients.__name__

    def _infer(self) -> Any:
        try:
            with self.gradients(), self.precision():
                return self.model(*self._positional, **self._keywords)
        except RuntimeError as error:
            if self._is_asked and is_about_gradients(error):
                raise ModelError(
                    f"the model differentiates in its forward pass, which {self.gradients.__name__} forbids: {error}; "
                    "leave out --grad-mode, or ask for another one"
                ) from error
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

    def split(self, marks: Marks) -> None:
        """Run the same step with its phases marked; freed tensors fall into the last one."""
        with marks(Phase.FORWARD):
            outputs = self.forward()
        if not self.is_training:
            return
        with marks(Phase.LOSS):
            loss = self.compute_loss(outputs)
        with marks(Phase.BACKWARD):
            self.backward(loss)
        with marks(Phase.OPTIMIZER):
            self.optimize()
            del outputs, loss

    @property
    def optimizers(self) -> tuple[torch.optim.Optimizer, ...]:
        """Every optimizer of the step; none in infer mode."""
        return () if self.optimizer is None else (self.optimizer,)

    @property
    def networks(self) -> dict[str, torch.nn.Module]:
        """The model, and what a step of one's own has beside it, by name."""
        return {"model": self.model}

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """Enter the cell's autocast, for work beside the four phases; nothing where it has none."""
        return contextlib.nullcontext() if self._autocast is None else self._precision()

    def _precision(self) -> torch.autocast:
        assert self._autocast is not None
        device_type, dtype = self._autocast
        return torch.autocast(device_type, dtype=dtype)


class LongStep(Step):
    """The built-in step with more in it: several batches before an update, clipping, an optimizer with a closure."""

    def __init__(self, *, accumulate: int = 1, clip_norm: float | None = None, **common: Any) -> None:
        """Take `Step`'s arguments, and how many batches make a step and the largest norm of the gradients."""
        super().__init__(**common)
        self._accumulate = accumulate
        self._clip_norm = clip_norm
        self._has_closure = needs_closure(self.optimizer)
        self.evaluations = 0

    def optimize(self) -> None:
        """Clip the gradients where the cell asks, then update the weights and drop the gradients."""
        self._clip()
        super().optimize()

    def __call__(self) -> torch.Tensor | None:
        """Run one whole step; return the last loss."""
        return self._run(unmarked)

    def split(self, marks: Marks) -> None:
        """Run the step with its phases marked; what the closure of an optimizer does is not the optimizer's."""
        self._run(marks)

    def _run(self, marks: Callable[[str], contextlib.AbstractContextManager[Any]]) -> torch.Tensor:
        self.evaluations = 0
        if not self._has_closure:
            loss = self._gradients(marks)
            with marks(Phase.OPTIMIZER):
                self.optimize()
            return loss
        assert self.optimizer is not None
        losses: list[torch.Tensor] = []
        with contextlib.ExitStack() as updating:

            def evaluate() -> torch.Tensor:
                updating.close()  # what follows is not the optimizer's own work
                losses[:] = [self._gradients(marks)]
                updating.enter_context(marks(Phase.OPTIMIZER))
                self._clip()
                return losses[0]

            updating.enter_context(marks(Phase.OPTIMIZER))
            self.optimizer.step(evaluate)  # type: ignore[arg-type]
            self.optimizer.zero_grad(set_to_none=True)
        return losses[0]

    def _gradients(self, marks: Callable[[str], contextlib.AbstractContextManager[Any]]) -> torch.Tensor:
        """Add up the gradients of all batches of a step; return the loss of the last one."""
        self.evaluations += 1
        if self._has_closure:
            assert self.optimizer is not None
            self.optimizer.zero_grad(set_to_none=True)
        for index in range(self._accumulate):
            # Around forward, too: it is there that DDP prepares to exchange the gradients of the backward pass.
            with self._synchronising(index == self._accumulate - 1):
                with marks(Phase.FORWARD):
                    outputs = self.forward()
                with marks(Phase.LOSS):
                    loss = self.compute_loss(outputs)
                    if self._accumulate > 1:
                        loss = loss / self._accumulate
                with marks(Phase.BACKWARD):
                    self.backward(loss)
                    del outputs
        return loss

    def _synchronising(self, is_last: bool) -> contextlib.AbstractContextManager[Any]:
        """Let ranks exchange gradients with the last batch of a step only."""
        wait = getattr(self.model, "no_sync", None)
        if wait is not None:  # DDP
            return contextlib.nullcontext() if is_last else wait()
        switch = getattr(self.model, "set_requires_gradient_sync", None)
        if switch is not None:  # FSDP2
            switch(is_last)
        return NOTHING

    def _clip(self) -> None:
        if self._clip_norm is None:
            return
        if self.scaler is not None:
            assert self.optimizer is not None
            self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._clip_norm)


class OwnStep(Step):
    """A step that the workload wrote itself: `train_step(step, model, batch, state)`.

    Attributes:
        state: What `make_state` returned.
        phase: Marks a phase: `with step.phase("forward"):`. In a whole step it does nothing.
    """

    def __init__(self, *, train_step: Callable[..., Any], state: Any, **common: Any) -> None:
        """Take `Step`'s arguments, the function and its state."""
        super().__init__(optimizer=None, is_training=True, **common)
        self.state = state
        self.phase: Callable[[str], contextlib.AbstractContextManager[Any]] = unmarked
        self._train_step = train_step
        self._uses_precision = False

    @property
    def optimizers(self) -> tuple[torch.optim.Optimizer, ...]:
        """Every optimizer in the state, each once."""
        return tuple(dict.fromkeys(leaves(self.state, torch.optim.Optimizer)))

    @property
    def networks(self) -> dict[str, torch.nn.Module]:
        """The model and every further network in the state, by name."""
        return networks_of(self.model, self.state)

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """Enter the cell's autocast; nothing where it has none."""
        self._uses_precision = True
        return super().precision()

    def __call__(self) -> torch.Tensor | None:
        """Run the step; return what it returns if that is a tensor, to be looked at as its loss.

        Raises:
            ModelError: It takes the inputs, which are always a tuple or a mapping, for a tensor.
        """
        try:
            returned = self._train_step(self, self.model, self._batch, self.state)
        except TypeError as error:
            if "not tuple" in str(error) and isinstance(self._batch[0], tuple):
                raise ModelError(
                    f"the train_step failed: {error}. Its batch is (inputs, targets) with the inputs in a tuple; "
                    "take them as `(inputs,), targets = batch`"
                ) from error
            raise
        return returned if isinstance(returned, torch.Tensor) and returned.numel() == 1 else None

    def split(self, marks: Marks) -> None:
        """Run the step with its phases marked.

        Raises:
            ModelError: Its phases are nested, or it ignores the cell's autocast and would be booked as what it is not.
        """
        self.phase = marks
        try:
            self()
        finally:
            self.phase = unmarked
        if self._autocast is not None and not self._uses_precision:
            raise ModelError(
                "the train_step never enters `with step.precision():`, so autocast would be recorded and not used; "
                "enter it around forward and loss, or measure fp32 or bf16"
            )


def networks_of(model: torch.nn.Module, state: Any) -> dict[str, torch.nn.Module]:
    """Name the model (`model`) and every further network in a step's state, by its path there."""
    known = {id(module) for module in model.modules()}
    found = {"model": model}
    for path, network in paths(state, torch.nn.Module):
        if id(network) not in known:
            known.update(id(module) for module in network.modules())
            found[path.replace(".", "_") if path not in ("", "model") else "state"] = network
    return found


def needs_closure(optimizer: torch.optim.Optimizer | None) -> bool:
    """Whether an optimizer evaluates the model itself, as LBFGS does: its `step` cannot be called without a closure."""
    if optimizer is None:
        return False
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


class Marks:
    """Tells an observer where each phase of a step begins and ends.

        with marks("forward"):
            ...

    A phase may come several times in a step, but not inside another one.
    """

    __slots__ = ("_begin", "_end", "_known", "_name", "_open")

    def __init__(
        self,
        begin: Callable[[Phase | str], object] = lambda _: None,
        end: Callable[[Phase | str], object] = lambda _: None,
    ) -> None:
        """Call `begin` and `end` with the phase; neither for a phase that raises at its end."""
        self._begin = begin
        self._end = end
        self._known: dict[str, Phase | str] = {}
        self._name: Phase | str = ""
        self._open = False

    def __call__(self, name: str) -> Marks:
        """Name the phase to be entered.

        Raises:
            ModelError: Another one has not ended, or it is no name for a phase.
        """
        if self._open:
            raise ModelError(f"phase {name!r} begins inside phase {str(self._name)!r}; phases follow one another")
        if name not in self._known:
            self._known[name] = _phase_name(name)
        self._name = self._known[name]
        return self

    def __enter__(self) -> None:
        self._open = True
        self._begin(self._name)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._open = False
        if kind is None:
            self._end(self._name)


def _phase_name(name: object) -> Phase | str:
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise ModelError(f"a phase needs a name of 1 to {_LONGEST_NAME} letters, found {name!r}")
    if name in (Phase.STEP, UNMARKED):
        raise ModelError(f"no phase can be named {name!r}, which is {_TAKEN[name]}; name it otherwise")
    return phase_of(name)


_LONGEST_NAME = 40
_TAKEN = {Phase.STEP: "the whole step", UNMARKED: "what is outside all phases"}
NOTHING = contextlib.nullcontext()


def unmarked(_name: str) -> contextlib.AbstractContextManager[Any]:
    """Mark nothing, as a whole step does."""
    return NOTHING
