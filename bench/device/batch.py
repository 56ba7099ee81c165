"""A batch as models take it: a tensor (one positional input), a tuple (positional) or a mapping (keywords).

Inside, anything may be nested. Whoever feeds a model, casts a batch or changes its layout does it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bench.core.errors import ModelError
from bench.core.workload import POSITIONAL, Batch, Workload, changed, leaves

_EXAMPLE = "for example `return (images,), labels` or `return {'input_ids': ids}, labels`"


def make_batch(workload: Workload, batch_size: int, device: str | torch.device) -> Batch:
    """Ask a workload for a batch, with the inputs as a tuple (positional) or a mapping (keywords).

    Raises:
        ModelError: It returned something else.
    """
    made: Any = workload.make_batch(batch_size, device)
    if not isinstance(made, tuple | list) or len(made) != 2:
        raise ModelError(
            f"make_batch of {workload.name or 'the workload'!r} returned {_described(made)}; it must return the pair "
            f"(inputs, targets), {_EXAMPLE}"
        )
    inputs, targets = made
    if isinstance(inputs, torch.Tensor):
        return (inputs,), targets
    if isinstance(inputs, tuple) or (isinstance(inputs, Mapping) and all(isinstance(name, str) for name in inputs)):
        return inputs, targets
    raise ModelError(
        f"make_batch of {workload.name or 'the workload'!r} returned {_described(inputs)} as inputs; they must be a "
        f"tensor (one input), a tuple (positional inputs) or a mapping (keywords), {_EXAMPLE}"
    )


def arguments(inputs: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return what the model is called with: `model(*positional, **keywords)`."""
    if not isinstance(inputs, Mapping):
        return tuple(inputs), {}
    if POSITIONAL not in inputs:
        return (), inputs
    return tuple(inputs[POSITIONAL]), {name: value for name, value in inputs.items() if name != POSITIONAL}


def call(model: Any, inputs: Any) -> Any:
    """Call a model with the inputs of a batch."""
    positional, keywords = arguments(inputs)
    return model(*positional, **keywords)


def tensors_in(value: Any) -> list[torch.Tensor]:
    """List the tensors of a nested value, in order."""
    return list(leaves(value, torch.Tensor))


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Cast every tensor of real floating-point numbers; leave everything else."""
    return changed(value, torch.Tensor, lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)


def channels_last(value: Any) -> Any:
    """Lay every dense 4-d tensor out as `channels_last`, every 5-d one as `channels_last_3d`."""
    return changed(value, torch.Tensor, channels_last_tensor)


def channels_last_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """Lay one tensor out with its channels last, where it has a layout of that kind."""
    layout = _CHANNELS_LAST.get(tensor.dim()) if tensor.layout is torch.strided and not tensor.is_nested else None
    return tensor if layout is None else tensor.contiguous(memory_format=layout)


def weights_channels_last(model: torch.nn.Module) -> torch.nn.Module:
    """Lay the weights out as `channels_last` or `channels_last_3d`, each by its dimensions, in place.

    `Module.to(memory_format=torch.channels_last)` does the same for 4-d weights, and raises where there is a 5-d one.
    """

    def lay_out(tensor: torch.Tensor) -> torch.Tensor:
        if torch.nn.parameter.is_lazy(tensor) or tensor.dim() not in _CHANNELS_LAST:
            return tensor
        return tensor.to(memory_format=_CHANNELS_LAST[tensor.dim()])

    model._apply(lay_out)  # type: ignore[no-untyped-call]
    return model


_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def _described(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with the keys {', '.join(map(repr, list(value)[:4]))}"
    return f"a {type(value).__name__}"
