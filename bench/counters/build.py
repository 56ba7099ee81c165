"""Build a model without its numbers: on the meta device, right for every architecture.

Three naive ways are wrong, and each was measured to be:

- `with torch.device("meta")` sends *every* constructor there, also `torch.tensor` and `torch.linspace`, whose values
  constructors read with `.item()`: wrong on 47 of torchvision's 166 weights entries;
- `model.to("meta")` replaces tensor by tensor and so unties shared weights without a word;
- building for real costs memory and time that counting does not need.

So only the functions that make tensors of placeholder or random values are sent to meta, `torch.nn.init` is skipped
there (it has nothing to fill), and whatever constants remain on the CPU are moved afterwards, each tensor once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_FACTORIES = frozenset(
    {
        torch.empty,
        torch.empty_strided,
        torch.zeros,
        torch.ones,
        torch.full,
        torch.rand,
        torch.randn,
        torch.randint,
        torch.randperm,
        torch.normal,
    }
)
_INITIALISERS = frozenset(getattr(nn.init, name) for name in dir(nn.init) if name.endswith("_") and name[0] != "_")


class _FactoriesOnMeta(TorchFunctionMode):
    """Sends placeholder and random tensors to meta, and skips initialising what has no numbers."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FACTORIES and kwargs.get("device") is None:
            kwargs = {**kwargs, "device": "meta"}
            kwargs.pop("generator", None)
        elif func in _INITIALISERS:
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a model whose parameters and buffers all lie on the meta device: shapes and types, no numbers, no memory.

    Tied weights stay tied. The random state is left as it was.

    Args:
        build: Builds the model on the default device: a class, a torchvision builder, `Workload.build_model`.

    Raises:
        Exception: Whatever `build` raises; a constructor that reads random numbers cannot be built here.
    """
    with torch.random.fork_rng(devices=[]), _FactoriesOnMeta():
        model = build()
    return replace_tensors(model, lambda tensor: tensor if tensor.is_meta else torch.empty_like(tensor, device="meta"))


def replace_tensors(model: nn.Module, convert: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    """Replace each parameter and buffer of a model in place, a shared one by one shared replacement.

    Lazy parameters, which have no shape yet, are left alone.
    """
    replaced: dict[int, torch.Tensor] = {}
    for tensors, name, tensor in _slots(model):
        if id(tensor) not in replaced:
            new = convert(tensor)
            if isinstance(tensor, nn.Parameter) and new is not tensor:
                new = nn.Parameter(new, requires_grad=tensor.requires_grad)
            replaced[id(tensor)] = new
        tensors[name] = replaced[id(tensor)]
    return model


def _slots(model: nn.Module) -> Iterator[tuple[dict[str, Any], str, torch.Tensor]]:
    """Yield where every parameter and buffer is kept; a list first, because the caller writes while it reads.

    The originals stay referenced by the list, so their ids cannot be given to new tensors meanwhile.
    """
    slots = [
        (tensors, name, tensor)
        for module in model.modules()
        for tensors in (module._parameters, module._buffers)
        for name, tensor in tensors.items()
        if tensor is not None and not nn.parameter.is_lazy(tensor)
    ]
    yield from slots
