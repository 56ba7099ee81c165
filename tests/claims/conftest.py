"""Counts a module without bench.counters, so that the documented values are checked by a second way."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from bench.core.record import Counters, FlopCount, LayerCount
from bench.registry import resolve

_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.randint}


class OnMeta(TorchFunctionMode):
    """Send the factory functions to meta; small tables made by `arange` or `tensor` stay real."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _FACTORIES and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def model_of(spec: str) -> tuple[nn.Module, ModuleType | None, Any]:
    """Build a model spec on meta; returns the module, and for our own models their file and config."""
    model, file, config = _build(spec)
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            module.register_buffer(name, buffer.to("meta"), persistent=name not in module._non_persistent_buffers_set)
    return model, file, config


def _build(spec: str) -> tuple[nn.Module, ModuleType | None, Any]:
    name, _, written = spec.partition("@")
    options = dict(pair.split("=") for pair in written.split(",")) if written else {}
    typed = {key: {"true": True, "false": False}.get(v, int(v) if v.isdigit() else v) for key, v in options.items()}
    with OnMeta():
        if name.startswith("torchvision:"):
            import torchvision

            if "like" in typed:  # the door itself: it keeps weights from being fetched
                return resolve(spec).build_model(), None, None
            name = name.removeprefix("torchvision:")
            if name in ("googlenet", "inception_v3"):
                typed["init_weights"] = False
            return torchvision.models.get_model(name, **typed), None, None
        file = importlib.import_module(f"bench.models.{name}")
        config = file.Config(**typed)
        return file.build_model(config), file, config


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def count_flops(module: nn.Module, *inputs: torch.Tensor) -> FlopCounterMode:
    """Count one forward pass in eval mode without gradients."""
    module.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return counter


@pytest.fixture
def count() -> Callable[..., Counters]:
    """Count a model spec on meta tensors: layers with parameters, shapes and FLOPs."""

    def count(spec: str, batch_size: int = 3, input_shape: tuple[int, ...] | None = None) -> Counters:
        model, file, config = model_of(spec)
        if file is not None:
            inputs, _ = file.make_batch(config, batch_size, "meta")
        else:
            inputs = (torch.empty(batch_size, *(input_shape or (3, 224, 224)), device="meta"),)
        shapes: dict[nn.Module, tuple[int, ...]] = {}

        def keep(module: nn.Module, _inputs: object, output: object) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if isinstance(first, torch.Tensor):
                shapes[module] = tuple(first.shape)

        for module in model.modules():
            module.register_forward_hook(keep)
        counter = count_flops(model, *inputs)
        flops = {path: sum(by_operation.values()) for path, by_operation in counter.get_flop_counts().items()}
        root = type(model).__name__
        layers = []
        for name, module in model.named_modules():
            own = list(module.parameters(recurse=False))
            path = f"{root}.{name}" if name else root
            children = sum(flops.get(f"{path}.{child}", 0) for child, _ in module.named_children())
            weight = getattr(module, "weight", None)
            layers.append(
                LayerCount(
                    name=name,
                    type=type(module).__name__,
                    parameters=sum(parameter.numel() for parameter in own),
                    trainable_parameters=sum(parameter.numel() for parameter in own if parameter.requires_grad),
                    output_shape=shapes.get(module),
                    weight_shape=tuple(weight.shape) if isinstance(weight, nn.Parameter) else None,
                    flops_forward=flops.get(path, 0) - children,
                )
            )
        return Counters(
            parameters=count_parameters(model),
            trainable_parameters=count_parameters(model),
            buffers=sum(buffer.numel() for buffer in model.buffers()),
            flops=FlopCount(forward=counter.get_total_flops()),
            layers=tuple(layers),
        )

    return count
