"""From what a spec led to (a module of five names, a class, a function, an object) to a Workload.

What a bare `nn.Module` lacks: a batch, a loss and an optimizer that suit any network of one float input.

What a model file may offer beside its five names: generating text, sampling images.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bench.core.errors import ModelError
from bench.core.inputs import INTEGERS, Input, InputShape, inputs_of
from bench.core.text import did_you_mean, one_line
from bench.core.workload import POSITIONAL, Batch, ImageSampler, TextGenerator, Workload, leaves, named
from bench.registry.loading import importable
from bench.registry.spec import Kind, Spec, convert_literal, convert_options

if TYPE_CHECKING:
    import torch

AUXILIARY_WEIGHT = 0.3  # of each auxiliary classifier's loss, as in the GoogLeNet paper (Szegedy et al., 2014)


def bare_workload(
    name: str,
    build_model: Callable[[], torch.nn.Module],
    input_shape: InputShape,
    source_file: str | None,
    loss: Callable[[Any, Any], torch.Tensor] | None = None,
) -> Workload:
    """Complete a module into a Workload: random inputs, `default_loss`, SGD."""
    inputs = inputs_of(input_shape)

    def make_batch(batch_size: int, device: str | torch.device) -> Batch:
        import torch

        drawn = [(one.name, _draw(one, batch_size, device)) for one in inputs]
        positional = tuple(tensor for name, tensor in drawn if name is None)
        named = {name: tensor for name, tensor in drawn if name is not None}
        fed = positional if not named else {POSITIONAL: positional, **named} if positional else named
        # How many classes there are is known only from the output, so the loss takes these modulo that number.
        return fed, torch.randint(2**31, (batch_size,), device=device)

    return Workload(
        name=name,
        build_model=build_model,
        make_batch=make_batch,
        loss=default_loss if loss is None else loss,
        make_optimizer=default_optimizer,
        source_file=source_file,
    )


def _draw(one: Input, batch_size: int, device: str | torch.device) -> torch.Tensor:
    """Draw a batch of one input: normally distributed, or evenly from its bounds."""
    import torch

    size, dtype = (batch_size, *one.shape), getattr(torch, one.dtype)
    if one.bounds is None:
        return torch.randn(size, dtype=dtype, device=device)
    low, high = one.bounds
    if one.dtype in INTEGERS:
        kind = torch.uint8 if dtype is torch.bool else dtype
        return torch.randint(int(low), int(high), size, dtype=kind, device=device).to(dtype)
    return torch.rand(size, dtype=dtype, device=device) * (high - low) + low


def default_loss(outputs: Any, targets: Any) -> torch.Tensor:
    """Compute cross entropy of logits `(B, n)`, n > 1, against `targets % n`; else the mean square of every output.

    Where the output holds several tensors (a tuple, a mapping, a dataclass, an object), the mean squares of all float
    ones are added; a `loss` that the model computed itself is taken instead. No value is read by the host. The number
    means nothing; it gives every output a gradient.

    Raises:
        ModelError: The output holds no float tensor.
    """
    import torch

    if isinstance(outputs, torch.Tensor) and outputs.dim() == 2 and outputs.shape[1] > 1:
        return torch.nn.functional.cross_entropy(outputs, targets % outputs.shape[1])
    own = None if isinstance(outputs, torch.Tensor) else named(outputs, "loss")
    if isinstance(own, torch.Tensor) and own.dim() == 0:
        return own
    squares = [one.square().mean() for one in leaves(outputs, torch.Tensor) if one.is_floating_point()]
    if not squares:
        raise ModelError(
            f"the model returned a {type(outputs).__name__} without a float tensor; pass a Workload with its own loss"
        )
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    return total


def classifier_loss(outputs: Any, targets: Any) -> torch.Tensor:
    """Compute `default_loss` of the logits, plus 0.3 times that of each auxiliary classifier (GoogLeNet, Inception)."""
    import torch

    if isinstance(outputs, torch.Tensor):
        return default_loss(outputs, targets)
    main, *auxiliary = (output for output in outputs if output is not None)
    total = default_loss(main, targets)
    for logits in auxiliary:
        total = total + AUXILIARY_WEIGHT * default_loss(logits, targets)
    return total


def default_optimizer(parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Make SGD, lr 1e-3, momentum 0.9: the least that a training step of a vision model has."""
    import torch

    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9)


CONTEXT_OPTION = "sequence_length"
"""The option of a model file that sets how many tokens its texts may have."""


def text_generator(found: Mapping[str, Any], config: Any) -> TextGenerator | None:
    """Make the generator of a model file that has `make_prompt`; None where it has not.

    The model's methods `prefill(ids, capacity)` and `decode(token, cache)` are looked up when they are called.
    """
    if "make_prompt" not in found:
        return None
    options = {field.name for field in dataclasses.fields(config)}
    limit, width, size = (found.get(name) for name in ("context_limit", "attention_width", "cache_bytes"))
    return TextGenerator(
        make_prompt=functools.partial(found["make_prompt"], config),
        prefill=lambda model, ids, capacity: _method(model, "prefill")(ids, capacity),
        decode=lambda model, ids, cache: _method(model, "decode")(ids, cache),
        logits=lambda model, ids: model(ids),
        context_limit=limit(config) if limit else None,
        context_option=CONTEXT_OPTION if limit and CONTEXT_OPTION in options else None,
        cache_bytes=functools.partial(size, config) if size else None,
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
        denoising=lambda model, *asked: _method(model, "denoising")(*asked),
        decode=(lambda model, images: _method(model, "decode_images")(images)) if "decode_images" in has else None,
        parts=(lambda model, inputs: _method(model, "parts")(*inputs)) if "parts" in has else None,
        max_steps=limit(config) if (limit := found.get("max_steps")) else None,
    )


def _method(model: torch.nn.Module, name: str) -> Callable[..., Any]:
    method: Callable[..., Any] | None = getattr(model, name, None)
    if method is None:
        raise ModelError(f"{type(model).__name__} has no method {name!r}, which its file's functions promise")
    return method


FIVE_NAMES = ("Config", "build_model", "make_batch", "loss", "make_optimizer")


def to_workload(target: Any, spec: Spec, input_shape: InputShape | None) -> Workload:
    """Make a Workload of whatever was found.

    A function is called here if there is no `input_shape`, because it must return a Workload then; with one it must
    return an `nn.Module`, and is called when the model is built. Classes are always called when the model is built.

    Raises:
        ModelError: The target cannot be used, an option is wrong, or the input's shape is missing or not wanted.
    """
    import torch

    if isinstance(target, ModuleType):
        return _from_five_names(target, spec, input_shape)
    if isinstance(target, Workload):
        return _from_workload(target, spec, input_shape)
    if isinstance(target, torch.nn.Module):
        if spec.options:
            raise ModelError(f"model {spec.text!r} is an object that is built already; it takes no options")
        return _from_module(functools.partial(copy.deepcopy, target), spec, input_shape, _source_of(type(target)))
    if not callable(target):
        raise ModelError(
            f"model {spec.text!r} is a {type(target).__name__}; it must be a Workload, an nn.Module, or a callable "
            "that returns one"
        )
    call = functools.partial(target, **_keyword_arguments(target, spec))
    is_module_class = isinstance(target, type) and issubclass(target, torch.nn.Module)
    if is_module_class or input_shape is not None:
        return _from_module(call, spec, input_shape, _source_of(target))
    made = _called(call, spec)
    if isinstance(made, torch.nn.Module):
        raise _shape_missing(spec)
    if not isinstance(made, Workload):
        raise ModelError(f"model {spec.text!r} returned a {type(made).__name__}, neither a Workload nor an nn.Module")
    return _from_workload(dataclasses.replace(made, source_file=made.source_file or _source_of(target)), spec, None, ())


def building(build: Callable[[], Any], spec: Spec) -> Callable[[], torch.nn.Module]:
    """Wrap a builder: what it raises becomes one line, what it returns is checked. Lack of memory passes through."""

    def build_model() -> torch.nn.Module:
        import torch

        model = _called(build, spec)
        if isinstance(model, Workload):
            raise ModelError(f"model {spec.text!r} returned a Workload, which makes its own batches; leave out --input")
        if not isinstance(model, torch.nn.Module):
            raise ModelError(f"model {spec.text!r} returned a {type(model).__name__}, not an nn.Module")
        _refuse_nothing(model, spec)
        return model

    return build_model


def _refuse_nothing(model: torch.nn.Module, spec: Spec) -> None:
    """Refuse a model without a width, which torch builds and times: an option of 0 made a weight of no elements."""
    from torch.nn.parameter import is_lazy

    numbers = [(key, convert_literal(value)) for key, value in spec.options]
    zeros = [f"{key}={number}" for key, number in numbers if number == 0 and not isinstance(number, bool)]
    if not zeros:
        return
    for name, parameter in model.named_parameters():
        if not is_lazy(parameter) and parameter.numel() == 0:
            shape = "x".join(map(str, parameter.shape))
            raise ModelError(
                f"model {spec.text!r}: {name} has no elements ({shape}); give {', '.join(zeros)} a larger value"
            )


def _called(call: Callable[[], Any], spec: Spec) -> Any:
    import torch

    folders = [Path(spec.place).resolve().parent] if spec.kind is Kind.FILE else []
    try:
        with importable(*folders):
            return call()
    except (ModelError, MemoryError, torch.OutOfMemoryError):
        raise
    except (Exception, SystemExit) as error:
        if "DefaultCPUAllocator" in str(error):  # torch's lack of memory on the CPU is a plain RuntimeError
            raise
        raise ModelError(f"building {spec.text!r} raised {one_line(error)}") from error


def _from_five_names(module: ModuleType, spec: Spec, input_shape: InputShape | None) -> Workload:
    found = vars(module)
    missing = [name for name in FIVE_NAMES if name not in found]
    if missing:
        where = Path(module.__file__ or module.__name__).name
        raise ModelError(
            f"model {spec.text!r}: {where} lacks {', '.join(missing)}; a model file has {', '.join(FIVE_NAMES)}. "
            f"Or name a callable in it: '{spec.place}:callable'"
        )
    refuse_inputs(spec, input_shape)
    config = _make_config(found["Config"], spec)
    tokens, flops = found.get("tokens_per_example"), found.get("forward_flops")
    return Workload(
        name=spec.text,
        build_model=building(functools.partial(found["build_model"], config), spec),
        make_batch=functools.partial(found["make_batch"], config),
        loss=found["loss"],
        make_optimizer=found["make_optimizer"],
        tokens_per_example=tokens(config) if tokens else None,
        closed_form_flops=functools.partial(flops, config) if flops else None,
        source_file=module.__file__,
        generator=text_generator(found, config),
        sampler=image_sampler(found, config),
    )


def refuse_inputs(spec: Spec, input_shape: InputShape | None) -> None:
    """Refuse inputs for a model that makes its own batches.

    Raises:
        ModelError: Some are given.
    """
    if input_shape is not None:
        raise ModelError(
            f"model {spec.text!r} makes its own batches; --input is for a bare nn.Module. "
            "Set its options instead, 'bench list' names them"
        )


def _make_config(config_type: Any, spec: Spec) -> Any:
    if not (isinstance(config_type, type) and dataclasses.is_dataclass(config_type)):
        raise ModelError(f"model {spec.text!r}: its Config is not a dataclass")
    annotations = {field.name: annotation_text(field.type) for field in dataclasses.fields(config_type)}
    values = convert_options(spec.text, spec.options, annotations)
    try:
        return config_type(**values)
    except (ValueError, TypeError) as error:
        raise ModelError(f"model {spec.text!r}: {' '.join(str(error).split())}") from error
    except Exception as error:
        raise ModelError(f"model {spec.text!r}: its Config raised {one_line(error)}") from error


def _from_workload(workload: Workload, spec: Spec, input_shape: InputShape | None, options: Any = None) -> Workload:
    if spec.options if options is None else options:
        raise ModelError(f"model {spec.text!r} is a Workload that is made already; it takes no options")
    if input_shape is not None:
        raise ModelError(f"model {spec.text!r} is a Workload, which makes its own batches; leave out --input")
    return dataclasses.replace(workload, name=spec.text, build_model=building(workload.build_model, spec))


def _from_module(
    build: Callable[[], Any], spec: Spec, input_shape: InputShape | None, source_file: str | None
) -> Workload:
    if input_shape is None:
        raise _shape_missing(spec)
    return bare_workload(spec.text, building(build, spec), input_shape, source_file)


def _shape_missing(spec: Spec) -> ModelError:
    return ModelError(
        f"model {spec.text!r} is an nn.Module, which does not say what it is fed; add what one example is, for "
        "example --input 3x224x224 or --input int64:128:0..30522, or return a bench.Workload"
    )


def _keyword_arguments(target: Callable[..., Any], spec: Spec) -> dict[str, Any]:
    """Turn options into keyword arguments, by the annotations of the signature where it can be read."""
    try:
        parameters: Mapping[str, inspect.Parameter] = inspect.signature(target).parameters
    except (ValueError, TypeError):
        return {key: convert_literal(text) for key, text in spec.options}
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    known = {
        name: "" if parameter.annotation is inspect.Parameter.empty else annotation_text(parameter.annotation)
        for name, parameter in parameters.items()
        if parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }
    if takes_any:
        known.update({key: "" for key, _ in spec.options if key not in known})
    values = convert_options(spec.text, spec.options, known)
    required = [
        name
        for name in known
        if name in parameters and parameters[name].default is inspect.Parameter.empty and name not in values
    ]
    if required:
        raise ModelError(
            f"model {spec.text!r} needs {', '.join(required)}; write '{spec.text.partition('@')[0]}@{required[0]}=...'"
            f"{did_you_mean(required[0], values)}"
        )
    return values


def annotation_text(annotation: Any) -> str:
    """Write an annotation as source text: `int`, `int | None`."""
    if isinstance(annotation, str):
        return annotation
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _source_of(target: Any) -> str | None:
    try:
        return inspect.getsourcefile(inspect.unwrap(target))
    except (TypeError, OSError):
        return None
