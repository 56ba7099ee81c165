"""How a forward pass keeps no gradients, also of models that differentiate inside it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch

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
