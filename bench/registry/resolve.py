"""The entry point: a model spec to a Workload.

Look a spec over before anything is imported: a misspelt name must not cost the seconds that torch takes to load.
"""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

from bench.core.errors import ModelError
from bench.core.inputs import InputShape, only_shape
from bench.core.text import one_line
from bench.core.workload import Workload
from bench.registry.build import CONTEXT_OPTION, refuse_inputs, to_workload
from bench.registry.catalog import (
    entry_points,
    find_node,
    folder_files,
    locate,
    names,
    read_options,
    torchvision_sources,
    unknown_name,
)
from bench.registry.loading import find_attribute, load_file, load_module, no_attribute
from bench.registry.spec import Kind, Spec, convert_options, parse
from bench.registry.timm import check_timm, timm_workload
from bench.registry.torchvision import torchvision_workload
from bench.registry.transformers import check_transformers, transformers_workload

_MAKES_NAMES = frozenset({"globals", "locals", "vars", "exec", "setattr", "sys"})
"""A file that uses one of these may bind names that its source does not show."""


def resolve(spec: str, *, input_shape: InputShape | None = None) -> Workload:
    """Find the model that a spec names; imports torch and the model's file, builds nothing yet.

    Args:
        spec: See the docstring of `bench.registry`.
        input_shape: Shape of one example without the batch, or all inputs (`bench.core.inputs`): needed for a bare
            `nn.Module`, possible for a torchvision model, an error for a model that makes its own batches.

    Raises:
        ModelError: Nothing answers to the name; the model cannot be imported; an option is wrong; the shape is missing
            or not wanted.
    """
    parsed = parse(spec)
    if parsed.kind is Kind.TORCHVISION:
        return torchvision_workload(parsed, input_shape)
    if parsed.kind is Kind.TRANSFORMERS:
        refuse_inputs(parsed, input_shape)
        return transformers_workload(parsed)
    if parsed.kind is Kind.TIMM:
        return timm_workload(parsed, input_shape)
    if parsed.kind is Kind.NAME:
        return _resolve_name(parsed, input_shape)
    module = load_file(Path(parsed.place), spec) if parsed.kind is Kind.FILE else load_module(parsed.place, spec)
    target = find_attribute(module, parsed.attribute, spec) if parsed.attribute else module
    workload = to_workload(target, parsed, input_shape)
    return workload if workload.source_file else dataclasses.replace(workload, source_file=module.__file__)


def _resolve_name(spec: Spec, input_shape: InputShape | None) -> Workload:
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


def needs_import(spec: str) -> bool:
    """Whether only importing a model tells if its spec is right: code of the user's, or options that it checks."""
    parsed = parse(spec)
    return bool(parsed.options) or parsed.kind in (Kind.MODULE, Kind.FILE)


def check(spec: str, input_shape: InputShape | None = None) -> None:
    """Raise what `resolve` would, as far as reading source tells; imports neither torch nor the model.

    Found here: a spec that is no spec, an unknown name, a file that is not there or not Python, an option that the
    model's Config or function lacks or that is not of its type, a name that nothing in the file binds, inputs for a
    model that makes its own batches. What passes here may still fail in `resolve`: a module that cannot be imported,
    a callable that is made at run time, a value that the model itself refuses.

    Raises:
        ModelError: Nothing answers to the name; the spec cannot be resolved.
    """
    parsed = parse(spec)
    if parsed.kind is Kind.NAME and parsed.place not in names():
        raise unknown_name(parsed.place)
    if parsed.kind in (Kind.TORCHVISION, Kind.TIMM) and CONTEXT_OPTION in dict(parsed.options):
        raise ModelError(f"model {spec!r} has no option {CONTEXT_OPTION!r}: it reads images")
    if parsed.kind is Kind.TORCHVISION:
        known = torchvision_sources()
        if known and parsed.place not in known:
            raise unknown_name(f"torchvision:{parsed.place}")
        if input_shape is not None:
            only_shape(input_shape)
        return
    if parsed.kind is Kind.TRANSFORMERS:
        refuse_inputs(parsed, input_shape)
        check_transformers(parsed)
        return
    if parsed.kind is Kind.TIMM:
        check_timm(parsed)
        return
    path, attribute = locate(parsed)
    if parsed.kind is Kind.FILE and path is None:
        raise ModelError(f"model {spec!r}: no file {parsed.place!r} in {Path.cwd()}")
    if path is not None:
        _check_source(parsed, path, attribute)
        if not attribute:
            refuse_inputs(parsed, input_shape)


def _check_source(spec: Spec, path: Path, attribute: str) -> None:
    try:
        text = path.read_bytes()
        tree = ast.parse(text, filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = (error.lineno or 1) if isinstance(error, SyntaxError) else 1
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ModelError(f"model {spec.text!r}: {path.name}, line {line} is not Python: {message}") from error
    node = find_node(tree, attribute) if attribute else None
    if attribute and node is None:
        _check_name(spec, path, tree, attribute)
        return  # it may be imported there, or made at run time
    if not attribute or _has_plain_signature(node):
        options = read_options(tree, attribute, text.decode(errors="replace").splitlines())
        if options is not None:
            convert_options(spec.text, spec.options, {option.name: option.type for option in options})


def _check_name(spec: Spec, path: Path, tree: ast.Module, attribute: str) -> None:
    """Refuse a name that nothing in the file can bind."""
    bound: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            if node.id in _MAKES_NAMES:
                return
            bound += [node.id] if isinstance(node.ctx, ast.Store) else []
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            bound.append(node.name)
        elif isinstance(node, ast.alias):
            bound.append(node.asname or node.name.partition(".")[0])
    part = attribute.partition(".")[0]
    if part in bound or {"*", "__getattr__"} & set(bound):
        return
    own = [n.name for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef) and not n.name.startswith("_")]
    raise no_attribute(spec.text, path.name, part, [name for name in bound if not name.startswith("_")], own)


def _has_plain_signature(node: ast.AST | None) -> bool:
    """Whether the source tells what a function takes; a class may inherit or change it."""
    return isinstance(node, ast.FunctionDef) and not node.decorator_list and node.args.kwarg is None
