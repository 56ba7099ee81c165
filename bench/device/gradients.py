"""How a forward pass keeps no gradients, also of models that differentiate inside it; when fp16's gradients are finite.

A GradScaler begins with a scale of 65,536 and skips the optimizer as long as gradients overflow. A step without its
update is shorter, launches fewer kernels and allocates no optimizer state: nothing is measured before one was made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Protocol

import torch

from bench.core import cell

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


def asked_mode(mode: cell.GradMode | None) -> GradMode | None:
    """Return torch's mode of the cell's; None where it asks for none."""
    return None if mode is None else dict(zip(cell.GradMode, _GRAD_MODES, strict=True))[mode]


def is_about_gradients(error: RuntimeError) -> bool:
    """Whether autograd refused because it was off: not out of memory, not a wrong shape."""
    return any(words in str(error) for words in ("require grad", "requires_grad", "nference tensor", "InferenceMode"))


MOST_SCALING_STEPS = 40
"""A scale of 65,536 is halved 16 times until it is 1; a model that overflows still is not helped by more."""


class Scaled(Protocol):
    """A step that may have a GradScaler."""

    scaler: torch.amp.GradScaler | None

    def __call__(self) -> torch.Tensor | None:
        """Run the step."""


def read_scale(step: Scaled) -> float | None:
    """Read the scale of the loss, which synchronises; None without a GradScaler."""
    return None if step.scaler is None else float(step.scaler.get_scale())


def settle_scale(step: Scaled) -> None:
    """Run steps until one has updated the weights; none without a GradScaler."""
    for _ in range(MOST_SCALING_STEPS if step.scaler is not None else 0):
        before = read_scale(step)
        step()
        if read_scale(step) == before:
            return
