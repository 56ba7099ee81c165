"""From what a spec led to (a module of five names, a class, a function, an object) to a Workload."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from bench.core.errors import ModelError
from bench.core.workload import Batch, Workload
from bench.registry.bare import bare_workload
from bench.registry.extras import image_sampler, text_generator
from bench.registry.loading import importable
from bench.registry.options import convert_literal, convert_options
from bench.registry.spec import Kind, Spec
from bench.registry.suggest import did_you_mean, one_line

if TYPE_CHECKING:
    import torch

FIVE_NAMES = ("Config", "build_model", "make_batch", "loss", "make_optimizer")


def to_workload(target: Any, spec: Spec, input_shape: tuple[int, ...] | None) -> Workload:
    """Make a Workload of whatever was found.

    A function is called here if there is no `input_shape`, because it must return a Workload then; with one it must
    return an `nn.Module`, and is called when the model is built. Classes are always called when the model is built.

    Raises:
        ModelError: The target is of no use, an option is wrong, or the input's shape is missing or not wanted.
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
            raise ModelError(
                f"model {spec.text!r} returned a Workload, which makes its own batches; leave out --input-shape"
            )
        if not isinstance(model, torch.nn.Module):
            raise ModelError(f"model {spec.text!r} returned a {type(model).__name__}, not an nn.Module")
        return model

    return build_model


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


def _from_five_names(module: ModuleType, spec: Spec, input_shape: tuple[int, ...] | None) -> Workload:
    found = vars(module)
    missing = [name for name in FIVE_NAMES if name not in found]
    if missing:
        where = Path(module.__file__ or module.__name__).name
        raise ModelError(
            f"model {spec.text!r}: {where} lacks {', '.join(missing)}; a model file has {', '.join(FIVE_NAMES)}. "
            f"Or name a callable in it: '{spec.place}:callable'"
        )
    if input_shape is not None:
        raise ModelError(
            f"model {spec.text!r} makes its own batches; --input-shape is for a bare nn.Module. "
            "Set its options instead, 'bench list' names them"
        )
    config = _make_config(found["Config"], spec)
    tokens, flops = found.get("tokens_per_example"), found.get("forward_flops")

    def make_batch(batch_size: int, device: str | torch.device) -> Batch:
        return cast("Batch", found["make_batch"](config, batch_size, device))

    return Workload(
        name=spec.text,
        build_model=building(functools.partial(found["build_model"], config), spec),
        make_batch=make_batch,
        loss=found["loss"],
        make_optimizer=found["make_optimizer"],
        tokens_per_example=tokens(config) if tokens else None,
        closed_form_flops=functools.partial(flops, config) if flops else None,
        source_file=module.__file__,
        generator=text_generator(found, config),
        sampler=image_sampler(found, config),
    )


def _make_config(config_type: Any, spec: Spec) -> Any:
    if not (isinstance(config_type, type) and dataclasses.is_dataclass(config_type)):
        raise ModelError(f"model {spec.text!r}: its Config is not a dataclass")
    annotations = {field.name: _annotation(field.type) for field in dataclasses.fields(config_type)}
    values = convert_options(spec.text, spec.options, annotations)
    try:
        return config_type(**values)
    except (ValueError, TypeError) as error:
        raise ModelError(f"model {spec.text!r}: {' '.join(str(error).split())}") from error


def _from_workload(
    workload: Workload, spec: Spec, input_shape: tuple[int, ...] | None, options: Any = None
) -> Workload:
    if spec.options if options is None else options:
        raise ModelError(f"model {spec.text!r} is a Workload that is made already; it takes no options")
    if input_shape is not None:
        raise ModelError(f"model {spec.text!r} is a Workload, which makes its own batches; leave out --input-shape")
    return dataclasses.replace(workload, name=spec.text, build_model=building(workload.build_model, spec))


def _from_module(
    build: Callable[[], Any], spec: Spec, input_shape: tuple[int, ...] | None, source_file: str | None
) -> Workload:
    if input_shape is None:
        raise _shape_missing(spec)
    return bare_workload(spec.text, building(build, spec), input_shape, source_file)


def _shape_missing(spec: Spec) -> ModelError:
    return ModelError(
        f"model {spec.text!r} is an nn.Module, which does not say what it is fed; add the shape of one example, for "
        "example --input-shape 3x224x224, or return a bench.Workload"
    )


def _keyword_arguments(target: Callable[..., Any], spec: Spec) -> dict[str, Any]:
    """Turn options into keyword arguments, by the annotations of the signature where it can be read."""
    try:
        parameters: Mapping[str, inspect.Parameter] = inspect.signature(target).parameters
    except (ValueError, TypeError):
        return {key: convert_literal(text) for key, text in spec.options}
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    known = {
        name: "" if parameter.annotation is inspect.Parameter.empty else _annotation(parameter.annotation)
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


def _annotation(annotation: Any) -> str:
    """Write an annotation as source text: `int`, `int | None`."""
    if isinstance(annotation, str):
        return annotation
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _source_of(target: Any) -> str | None:
    try:
        return inspect.getsourcefile(inspect.unwrap(target))
    except (TypeError, OSError):
        return None
