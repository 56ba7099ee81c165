"""The front door: a model spec to a Workload."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bench.core.errors import ModelError
from bench.core.workload import Workload
from bench.registry.catalog import entry_points, folder_files, unknown_name
from bench.registry.loading import find_attribute, load_file, load_module
from bench.registry.spec import Kind, Spec, parse
from bench.registry.suggest import one_line
from bench.registry.targets import to_workload
from bench.registry.torchvision_models import torchvision_workload
from bench.registry.transformers_models import transformers_workload


def resolve(spec: str, *, input_shape: tuple[int, ...] | None = None) -> Workload:
    """Find the model that a spec names; imports torch and the model's file, builds nothing yet.

    Args:
        spec: See the docstring of `bench.registry`.
        input_shape: Shape of one example without the batch: needed for a bare `nn.Module`, possible for a torchvision
            model, an error for a model that makes its own batches.

    Raises:
        UnknownModelError: Nothing answers to the name.
        ModelError: The model cannot be imported, an option is wrong, or the shape is missing or not wanted.
    """
    parsed = parse(spec)
    if parsed.kind is Kind.TORCHVISION:
        return torchvision_workload(parsed, input_shape)
    if parsed.kind is Kind.TRANSFORMERS:
        if input_shape is not None:
            raise ModelError(f"model {spec!r} makes its own batches; set its options instead of --input-shape")
        return transformers_workload(parsed)
    if parsed.kind is Kind.NAME:
        return _resolve_name(parsed, input_shape)
    module = load_file(Path(parsed.place), spec) if parsed.kind is Kind.FILE else load_module(parsed.place, spec)
    target = find_attribute(module, parsed.attribute, spec) if parsed.attribute else module
    workload = to_workload(target, parsed, input_shape)
    return workload if workload.source_file else dataclasses.replace(workload, source_file=module.__file__)


def _resolve_name(spec: Spec, input_shape: tuple[int, ...] | None) -> Workload:
    path = folder_files().get(spec.place)
    if path is not None:
        return to_workload(load_file(path, spec.text), spec, input_shape)
    point = entry_points().get(spec.place)
    if point is None:
        raise unknown_name(spec.place)
    try:
        target = point.load()
    except (Exception, SystemExit) as error:
        raise ModelError(f"model {spec.text!r}: its entry point {point.value!r} raised {one_line(error)}") from error
    return to_workload(target, spec, input_shape)
