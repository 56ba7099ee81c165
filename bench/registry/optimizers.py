"""The optimizer axis: `adamw`, `sgd-fused`, ... to a torch optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bench.core.errors import SuiteError
from bench.registry.suggest import did_you_mean

if TYPE_CHECKING:
    import torch

_SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 1e-3, "momentum": 0.9},
    "adam": {"lr": 1e-3},
    "adamw": {"lr": 1e-3},
    "rmsprop": {"lr": 1e-3},
}
_CLASSES = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}
_WITHOUT_FUSED = ("rmsprop",)  # torch has no fused kernel for it

OPTIMIZERS: tuple[str, ...] = tuple(
    name + suffix
    for name in _SETTINGS
    for suffix in ("", "-foreach", "-fused")
    if not (suffix == "-fused" and name in _WITHOUT_FUSED)
)
"""Every name that `make_optimizer` takes. Without a suffix torch chooses: foreach on CUDA, a plain loop on the CPU."""


def check_optimizer(name: str) -> None:
    """Refuse a name that is not in OPTIMIZERS.

    Raises:
        SuiteError: With the nearest name there is.
    """
    if name not in OPTIMIZERS:
        hint = did_you_mean(name, OPTIMIZERS)
        raise SuiteError(f"no optimizer named {name!r}.{hint} There are {', '.join(OPTIMIZERS)}.")


def make_optimizer(name: str, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Make the named optimizer with lr 1e-3, momentum 0.9 for SGD, and torch's defaults for the rest.

    Raises:
        SuiteError: The name is not in OPTIMIZERS.
    """
    import torch

    check_optimizer(name)
    kind, _, suffix = name.partition("-")
    chosen = {suffix: True} if suffix else {}
    optimizer: torch.optim.Optimizer = getattr(torch.optim, _CLASSES[kind])(parameters, **_SETTINGS[kind], **chosen)
    return optimizer
