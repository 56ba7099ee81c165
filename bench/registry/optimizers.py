"""Optimizers by name, so that they can be an axis of a sweep. Imports torch only when one is made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bench.core.errors import UsageError
from bench.core.text import suggest

if TYPE_CHECKING:
    import torch

_CLASSES = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}
_VARIANTS = {"": {}, "-fused": {"fused": True}, "-foreach": {"foreach": True}}
_WITHOUT_FUSED = frozenset({"rmsprop"})  # torch has no fused kernel for it
_LEARNING_RATE = 1e-3

OPTIMIZERS: tuple[str, ...] = tuple(
    name + variant for name in _CLASSES for variant in _VARIANTS if not (variant == "-fused" and name in _WITHOUT_FUSED)
)
"""Every name that `make_optimizer` takes."""


def check_optimizer(name: str) -> str:
    """Return the name if there is such an optimizer.

    Raises:
        UsageError: There is none; the message suggests one.
    """
    if name in OPTIMIZERS:
        return name
    raise UsageError(f"no optimizer named {name!r}. {suggest(name, OPTIMIZERS)}")


def make_optimizer(name: str, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Make an optimizer with learning rate 1e-3 and torch's defaults for the rest; SGD with momentum 0.9.

    `-foreach` and `-fused` behind a name choose torch's implementation, a bare name leaves it to torch.

    Raises:
        UsageError: No optimizer of that name.
    """
    import torch

    base, _, variant = check_optimizer(name).partition("-")
    options: dict[str, object] = {"lr": _LEARNING_RATE}
    if base == "sgd":
        options["momentum"] = 0.9
    if variant:
        options |= _VARIANTS[f"-{variant}"]
    optimizer_class = getattr(torch.optim, _CLASSES[base])
    made: torch.optim.Optimizer = optimizer_class(parameters, **options)
    return made
