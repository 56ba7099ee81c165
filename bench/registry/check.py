"""Look a spec over before anything is imported: a misspelt name must not cost the seconds that torch takes to load."""

from __future__ import annotations

import ast
from pathlib import Path

from bench.core.errors import ModelError
from bench.registry.catalog import names, torchvision_sources, unknown_name
from bench.registry.info import find_node, locate, read_options
from bench.registry.options import convert_options
from bench.registry.spec import Kind, Spec, parse
from bench.registry.transformers_models import check_transformers


def check(spec: str) -> None:
    """Raise what `resolve` would, as far as reading source tells; imports neither torch nor the model.

    Found here: a spec that is no spec, an unknown name, a file that is not there or not Python, an option that the
    model's Config lacks or that is not of its type. What passes here may still fail in `resolve`: a module that cannot
    be imported, a callable that is made at run time, a value that the model itself refuses.

    Raises:
        UnknownModelError: Nothing answers to the name.
        ModelError: The spec cannot be resolved.
    """
    parsed = parse(spec)
    if parsed.kind is Kind.NAME and parsed.place not in names():
        raise unknown_name(parsed.place)
    if parsed.kind is Kind.TORCHVISION:
        known = torchvision_sources()
        if known and parsed.place not in known:
            raise unknown_name(f"torchvision:{parsed.place}")
        return
    if parsed.kind is Kind.TRANSFORMERS:
        check_transformers(parsed)
        return
    path, attribute = locate(parsed)
    if parsed.kind is Kind.FILE and path is None:
        raise ModelError(f"model {spec!r}: no file {parsed.place!r} in {Path.cwd()}")
    if path is not None:
        _check_source(parsed, path, attribute)


def _check_source(spec: Spec, path: Path, attribute: str) -> None:
    try:
        text = path.read_bytes()
        tree = ast.parse(text, filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = (error.lineno or 1) if isinstance(error, SyntaxError) else 1
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ModelError(f"model {spec.text!r}: {path.name}, line {line} is not Python: {message}") from error
    if attribute and find_node(tree, attribute) is None:
        return  # it may be imported there, or made at run time
    if not attribute:
        options = read_options(tree, "", text.decode(errors="replace").splitlines())
        if options is not None:
            convert_options(spec.text, spec.options, {option.name: option.type for option in options})
