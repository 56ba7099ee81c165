"""What a model file may offer beside its five names: generating text, sampling images."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bench.core.errors import ModelError
from bench.core.workload import ImageSampler, TextGenerator

if TYPE_CHECKING:
    import torch

CONTEXT_OPTION = "sequence_length"
"""The option of a model file that sets how many tokens its texts may have."""


def text_generator(found: Mapping[str, Any], config: Any) -> TextGenerator | None:
    """Make the generator of a model file that has `make_prompt`; None where it has not.

    The model's methods `prefill(ids, capacity)` and `decode(token, cache)` are looked up when they are called.
    """
    if "make_prompt" not in found:
        return None
    options = {field.name for field in dataclasses.fields(config)}
    limit, width = found.get("context_limit"), found.get("attention_width")
    return TextGenerator(
        make_prompt=functools.partial(found["make_prompt"], config),
        prefill=lambda model, ids, capacity: _method(model, "prefill")(ids, capacity),
        decode=lambda model, ids, cache: _method(model, "decode")(ids, cache),
        logits=_whole_logits,
        context_limit=limit(config) if limit else None,
        context_option=CONTEXT_OPTION if limit and CONTEXT_OPTION in options else None,
        cache_bytes=_bound(found.get("cache_bytes"), config),
        attention_width=width(config) if width else None,
    )


def image_sampler(found: Mapping[str, Any], config: Any) -> ImageSampler | None:
    """Make the sampler of a model file that has `make_noise`; None where it has not.

    Optional methods of the model (`decode_images`, `parts`) are taken where its class in the file has them.
    """
    if "make_noise" not in found:
        return None
    has = {name for value in found.values() if isinstance(value, type) for name in vars(value)}
    return ImageSampler(
        make_noise=functools.partial(found["make_noise"], config),
        encode=lambda model, text, guidance: _method(model, "encode")(text, guidance),
        denoising=_denoising,
        decode=(lambda model, images: _method(model, "decode_images")(images)) if "decode_images" in has else None,
        parts=(lambda model, inputs: _method(model, "parts")(*inputs)) if "parts" in has else None,
        max_steps=limit(config) if (limit := found.get("max_steps")) else None,
    )


def _whole_logits(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(ids)
    return logits


def _denoising(
    model: torch.nn.Module, context: Any, noise: torch.Tensor, steps: int, guidance: float, sampler: str
) -> Iterator[torch.Tensor]:
    images: Iterator[torch.Tensor] = _method(model, "denoising")(context, noise, steps, guidance, sampler)
    return images


def _method(model: torch.nn.Module, name: str) -> Callable[..., Any]:
    method: Callable[..., Any] | None = getattr(model, name, None)
    if method is None:
        raise ModelError(f"{type(model).__name__} has no method {name!r}, which its file's functions promise")
    return method


def _bound(function: Callable[..., int] | None, config: Any) -> Callable[..., int] | None:
    return functools.partial(function, config) if function else None
