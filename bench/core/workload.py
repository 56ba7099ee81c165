"""What a model brings to be measured: the only value here that is not JSON, because it holds callables.

The types of torch are named in quotes; this package never imports it.

One walk through nested values: batches, outputs, caches, whatever models take and return.

Opened are tuples (named ones too), lists, mappings, dataclasses and objects that keep their values as attributes; never
what can be called (modules, functions, classes). Everything else is a leaf. Nothing here knows torch.

    leaves(value, torch.Tensor)                       # the tensors in it, in order
    changed(value, torch.Tensor, torch.Tensor.cuda)   # the same value with each of them replaced
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from bench.core.errors import ModelError

if TYPE_CHECKING:
    import torch


Batch = tuple[Any, Any]
"""`(inputs, targets)`. The loss is called as `loss(outputs, targets)`; the model

- as `model(inputs)` where inputs are a tensor,
- as `model(*inputs)` where they are a tuple,
- as `model(**inputs)` where they are a mapping; what it holds under `"*"`, a tuple, is passed by position;

what is inside may be nested at will.
"""


POSITIONAL = "*"
"""Key of the positional inputs of a batch that has keywords too."""


def _no_loss(_outputs: Any, _targets: Any) -> torch.Tensor:
    raise ModelError("the workload has no loss; give it `loss` and `make_optimizer`, or a `train_step` of its own")


def _no_optimizer(_parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    raise ModelError("the workload has no optimizer; give it `make_optimizer`, or a `train_step` of its own")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGenerator:
    """How a language model writes text: it reads a prompt, then one token after another.

    The cache is whatever the model hands on from token to token: keys and values, a recurrent state. Its tensors are
    found in attributes, tuples, lists and mappings, to count their bytes.

    Attributes:
        make_prompt: `(batch_size, length, device) -> token ids (B, length)`; must work on `meta` too.
        prefill: `(model, ids (B, P), capacity) -> (logits of the next token (B, V), cache)`; `capacity` is how many
            tokens the text will have in the end, for caches that make room at once.
        decode: `(model, ids (B, 1), cache) -> (logits (B, V), cache)`.
        logits: `(model, ids (B, S)) -> logits (B, S, V)` without a cache, for the comparison.
        context_limit: Tokens that a text may have; None is no limit.
        context_option: The model's option that sets this limit, where it has one.
        cache_bytes: `(batch_size, tokens, bytes per value) -> bytes` by formula; None if there is none.
        attention_width: Width of the queries, summed over the layers: a token that sees T others costs 4 T of it in
            FLOPs. 0 for a model without attention, None where it is not known.
    """

    make_prompt: Callable[[int, int, str | torch.device], torch.Tensor]
    prefill: Callable[[torch.nn.Module, torch.Tensor, int], tuple[torch.Tensor, Any]]
    decode: Callable[[torch.nn.Module, torch.Tensor, Any], tuple[torch.Tensor, Any]]
    logits: Callable[[torch.nn.Module, torch.Tensor], torch.Tensor]
    context_limit: int | None = None
    context_option: str | None = None
    cache_bytes: Callable[[int, int, int], int] | None = None
    attention_width: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSampler:
    """How a diffusion model makes images: it encodes a text, then removes noise step by step.

    Attributes:
        make_noise: `(batch_size, device) -> (text, noise)`; noise is a float tensor of the images' shape.
        encode: `(model, text, guidance) -> context`; guidance 1 is none.
        denoising: `(model, context, noise, steps, guidance, sampler)` yields images after each of the steps.
        decode: `(model, images) -> images`, after the last step; None where there is nothing to decode.
        parts: `(model, inputs)` yields the name and the value of each part of a training step's forward pass, the
            last being the outputs; None where the model does not tell.
        max_steps: Most denoising steps that its noise schedule has; None where the model does not tell.
    """

    make_noise: Callable[[int, str | torch.device], tuple[Any, torch.Tensor]]
    encode: Callable[[torch.nn.Module, Any, float], Any]
    denoising: Callable[[torch.nn.Module, Any, torch.Tensor, int, float, str], Iterator[torch.Tensor]]
    decode: Callable[[torch.nn.Module, torch.Tensor], torch.Tensor] | None = None
    parts: Callable[[torch.nn.Module, Any], Iterator[tuple[str, Any]]] | None = None
    max_steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A model with everything that one training step needs.

    Attributes:
        name: The model spec it was resolved from.
        build_model: Builds the model with random weights on the current default device, in train mode.
        make_batch: `(batch_size, device) -> (inputs, targets)`, see `Batch`. Must work on `cpu`, `cuda:N`,
            `meta` and under a fake tensor mode, so: no data-dependent control flow, no host reads.
        loss: `(outputs, targets) -> scalar tensor`.
        make_optimizer: `parameters -> torch.optim.Optimizer`; the workload's own choice.
        train_step: `(step, model, batch, state)`: a training step of one's own, instead of loss and optimizer. Its
            batch has the inputs in a tuple where they are no mapping: `(images,), targets = batch`. It marks
            its phases (`with step.phase("forward"):`; repeated ones add up, nested ones are refused) and does what it
            likes. `step.precision()` is the cell's autocast, `step.scaler` its GradScaler.
        make_state: `model -> state`, what `train_step` needs beside the model: optimizers, schedulers, a second
            network, in whatever container. Called once, when the model is on its device.
        tokens_per_example: For language models; None where an example is not a sequence.
        closed_form_flops: `batch_size -> FLOPs of one forward pass` (1 MAC = 2) where the model states a formula.
        source_file: Where the model is written, for annotations; None if unknown.
        generator: For models that generate text, `bench generate`.
        sampler: For models that sample images, `bench images`.
    """

    name: str = ""
    build_model: Callable[[], torch.nn.Module]
    make_batch: Callable[[int, str | torch.device], Batch]
    loss: Callable[[Any, Any], torch.Tensor] = _no_loss
    make_optimizer: Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer] = _no_optimizer
    train_step: Callable[[Any, torch.nn.Module, Batch, Any], Any] | None = None
    make_state: Callable[[torch.nn.Module], Any] | None = None
    tokens_per_example: int | None = None
    closed_form_flops: Callable[[int], int] | None = None
    source_file: str | None = None
    generator: TextGenerator | None = None
    sampler: ImageSampler | None = None

    def __post_init__(self) -> None:
        """Refuse a function that cannot be called so; Python's own message would name a lambda, not its purpose."""
        for name, arguments in _CALLED_WITH.items():
            if (function := getattr(self, name)) is not None:
                _check_call(name, arguments, function)


_CALLED_WITH = {
    "build_model": (),
    "make_batch": ("batch_size", "device"),
    "loss": ("outputs", "targets"),
    "make_optimizer": ("parameters",),
    "train_step": ("step", "model", "batch", "state"),
    "make_state": ("model",),
}


def _check_call(name: str, arguments: tuple[str, ...], function: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of some written in C nothing is known
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        takes = f"({', '.join(signature.parameters)})"
        raise ModelError(f"{name} is called as {name}({', '.join(arguments)}); this one takes {takes}") from None


T = TypeVar("T")


def leaves(value: Any, kind: type[T]) -> Iterator[T]:
    """Walk through a value for everything of one kind, depth first; a value that holds itself is entered once."""
    for _, leaf in _paths(value, kind, None, set()):
        yield leaf


def paths(value: Any, kind: type[T]) -> Iterator[tuple[str, T]]:
    """Walk as `leaves` does, with the dotted path of each leaf: `heads.0.critic`."""
    yield from _paths(value, kind, "", set())  # type: ignore[misc]  # each has a path


def _paths(value: Any, kind: type[T], path: str | None, above: set[int]) -> Iterator[tuple[str | None, T]]:
    """Walk; without a path there is none to be made, which for a key that is a tensor takes long."""
    if isinstance(value, kind):
        yield path, value
        return
    children = _children(value)
    if children is None or id(value) in above:
        return
    above.add(id(value))
    for name, child in children.items():
        below = None if path is None else f"{path}.{name}" if path else str(name)
        yield from _paths(child, kind, below, above)
    above.discard(id(value))


def changed(value: Any, kind: type[T], change: Callable[[T], Any]) -> Any:
    """Return the value with each part of one kind replaced; what holds none of them is kept as it is, not copied."""
    return _changed(value, kind, change, {})


def named(value: Any, name: str) -> Any:
    """Return what a mapping or an object calls `name`, such as the `loss` and `logits` of libraries; None without."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _changed(value: Any, kind: type[T], change: Callable[[T], Any], done: dict[int, Any]) -> Any:
    if isinstance(value, kind):
        return change(value)
    children = _children(value)
    if children is None:
        return value
    if id(value) in done:
        return done[id(value)]
    done[id(value)] = value  # a value that holds itself keeps its old self inside
    new = {name: _changed(child, kind, change, done) for name, child in children.items()}
    if any(new[name] is not child for name, child in children.items()):
        done[id(value)] = _rebuilt(value, new)
    return done[id(value)]


def _children(value: Any) -> Mapping[Any, Any] | None:
    """Name what a container holds; None for a leaf."""
    if isinstance(value, tuple | list):
        return dict(enumerate(value))
    if isinstance(value, Mapping):
        return value
    if callable(value):
        return None
    slots = [name for cls in type(value).__mro__ for name in _slots(cls) if name in dir(value)]
    held = getattr(value, "__dict__", None)
    if not isinstance(held, dict) and not slots:
        return None
    return {name: getattr(value, name) for name in slots} | (held if isinstance(held, dict) else {})


def _slots(cls: type) -> tuple[str, ...]:
    """Name the slots of a dataclass; those of other types are their own affair."""
    found = vars(cls).get("__slots__", ()) if "__dataclass_fields__" in vars(cls) else ()
    return (found,) if isinstance(found, str) else tuple(found)


def _rebuilt(value: Any, new: Mapping[Any, Any]) -> Any:
    if isinstance(value, tuple):
        items = new.values()
        return type(value)(*items) if "_fields" in dir(value) else tuple(items)
    if isinstance(value, list):
        return list(new.values())
    twin = copy.copy(value)
    if isinstance(value, Mapping):
        for name, child in new.items():
            twin[name] = child
        return twin
    for name, child in new.items():
        object.__setattr__(twin, name, child)  # a frozen dataclass, too
    return twin
