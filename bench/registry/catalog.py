"""Which names there are, without importing torch: the STEPBENCH_MODELS folder, entry points, torchvision's source.

What a model says of itself, read from its source without importing it.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint
from pathlib import Path

from bench.core.errors import BenchError, ModelError
from bench.core.text import nearest
from bench.registry.loading import importable
from bench.registry.spec import Kind, Spec, parse

GROUP = "bench.models"
FOLDER_VARIABLE = "STEPBENCH_MODELS"
_REGISTERED = re.compile(r"^@register_model(?:\((?:name=\"(\w+)\")?\))?\n(?:[@ )].*\n)*def (\w+)\(", re.MULTILINE)


def names() -> tuple[str, ...]:
    """List the reference and plugin models: those of the STEPBENCH_MODELS folder first, then the entry points."""
    return tuple(dict.fromkeys([*folder_files(), *entry_points()]))


def entry_points() -> dict[str, EntryPoint]:
    """Find the installed models by name; loads none."""
    return _entry_points(tuple((folder, _changed_at(folder)) for folder in sys.path))


@functools.lru_cache(8)
def _entry_points(_: tuple[tuple[str, int], ...]) -> dict[str, EntryPoint]:
    """Read them, which opens a file of every installed distribution; again where a folder of them has changed."""
    return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}


def _changed_at(folder: str) -> int:
    try:
        return Path(folder or ".").stat().st_mtime_ns
    except OSError:
        return 0


def folder_files() -> dict[str, Path]:
    """Find the model files of the folder that STEPBENCH_MODELS names; a file whose name starts with `_` is none.

    Raises:
        ModelError: The variable names a folder that is not there.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return {}
    if not Path(folder).is_dir():
        raise ModelError(f"{FOLDER_VARIABLE} names {folder!r}, which is not a folder; unset it or set it to one")
    return {path.stem: path for path in sorted(Path(folder).resolve().glob("[!_]*.py"))}


@functools.cache
def torchvision_sources() -> dict[str, Path]:
    """Find the source file of each of torchvision's models; empty where torchvision is not installed."""
    return registered_in("torchvision")


def registered_in(library: str) -> dict[str, Path]:
    """Find the source file of each model that a library registers; empty where it is not installed.

    Importing one takes seconds, and torchvision fails beside a torch of another build, so the names are read from the
    decorators in its source (tests compare them with what the libraries list).
    """
    package = importlib.util.find_spec(library)
    folders = package.submodule_search_locations if package else None
    files = [path for folder in folders or () for path in sorted((Path(folder) / "models").rglob("*.py"))]
    return {
        name or function: path
        for path in files
        for name, function in _REGISTERED.findall(path.read_text(encoding="utf-8"))
    }


def unknown_name(name: str) -> ModelError:
    """Make the error for a name that nothing answers to, with the nearest name there is."""
    torchvision = {known: f"torchvision:{known}" for known in sorted(torchvision_sources())}
    own = {known: known for known in names()}
    match = nearest(name.removeprefix("torchvision:"), [*own, *torchvision])
    hint = f" Did you mean {({**torchvision, **own})[match]!r}?" if match else ""
    return ModelError(f"no model named {name!r}.{hint} Or pass 'package.module:callable'. See 'bench list'.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a model: type, default and comment as written in its source; empty if there is none."""

    name: str
    type: str = ""
    default: str = ""
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model's name, the first line of its docstring, and its options; empty where its source cannot be read."""

    name: str
    about: str = ""
    options: tuple[Option, ...] = ()


def describe(name: str) -> ModelInfo:
    """Describe a model by its name or spec, without importing torch or the model.

    Never fails for a model that is there but cannot be read: `about` and options are empty then, and so they are for a
    name that is not there.
    """
    try:
        spec = parse(name)
        path, attribute = locate(spec)
        tree = ast.parse(path.read_text(encoding="utf-8")) if path else None
    except (BenchError, OSError, SyntaxError, ValueError):
        return ModelInfo(name=name)
    if path is None or tree is None:
        return ModelInfo(name=name)
    lines = path.read_text(encoding="utf-8").splitlines()
    node = find_node(tree, attribute) if attribute else tree
    return ModelInfo(
        name=name,
        about=_summary(node),
        options=read_options(tree, attribute, lines) or (),
    )


def source_place(spec: str) -> tuple[str, int] | None:
    """Find the file and line in which a model is written, without importing it; None if it cannot be told.

    The line is that of the callable, of `build_model` in a module of five names, or of the mistake where the file
    cannot be read as Python. A model of torchvision has no place: nobody edits it.
    """
    try:
        parsed = parse(spec)
        path, attribute = (None, "") if parsed.kind is Kind.TORCHVISION else locate(parsed)
        tree = ast.parse(path.read_text(encoding="utf-8")) if path else None
    except SyntaxError as error:
        return str(path), error.lineno or 1
    except (BenchError, OSError, ValueError):
        return None
    if path is None or tree is None:
        return None
    node = find_node(tree, (attribute or "build_model").partition(".")[0])
    return str(path), getattr(node, "lineno", 1)


def locate(spec: Spec) -> tuple[Path | None, str]:
    """Find the file of a spec and the attribute in it; the attribute is empty for a module of the five names."""
    if spec.kind is Kind.FILE:
        path = Path(spec.place)
        return (path.resolve() if path.is_file() else None), spec.attribute
    if spec.kind is Kind.TORCHVISION:
        return torchvision_sources().get(spec.place), spec.place
    if spec.kind in (Kind.TRANSFORMERS, Kind.TIMM):
        return None, ""
    if spec.kind is Kind.MODULE:
        return _module_file(spec.place), spec.attribute
    file = folder_files().get(spec.place)
    if file is not None:
        return file, ""
    point = entry_points().get(spec.place)
    return (_module_file(point.module), point.attr) if point else (None, "")


def find_node(tree: ast.Module, attribute: str) -> ast.AST | None:
    """Find the class, function or assignment of a name at the top of a module."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == attribute:
            return node
        if isinstance(node, ast.Assign | ast.AnnAssign) and attribute in _assigned(node):
            return node
    return None


def read_options(tree: ast.Module, attribute: str, lines: list[str]) -> tuple[Option, ...] | None:
    """Read the fields of `Config`, or the parameters of the named callable; None where they cannot be told."""
    node = find_node(tree, attribute or "Config")
    if not attribute:
        return _fields(node, lines) if isinstance(node, ast.ClassDef) else None
    if isinstance(node, ast.ClassDef):
        inits = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
        return _parameters(inits[0])[1:] if inits else None
    return _parameters(node) if isinstance(node, ast.FunctionDef) else None


def _summary(node: ast.AST | None) -> str:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return ""
    return (ast.get_docstring(node) or "").strip().partition("\n")[0]


def _fields(node: ast.ClassDef, lines: list[str]) -> tuple[Option, ...]:
    return tuple(
        Option(
            name=item.target.id,
            type=ast.unparse(item.annotation),
            default=ast.unparse(item.value) if item.value else "",
            comment=lines[(item.end_lineno or item.lineno) - 1].partition("  # ")[2].strip(),
        )
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    )


def _parameters(node: ast.FunctionDef) -> tuple[Option, ...]:
    positional = [*node.args.posonlyargs, *node.args.args]
    defaults = [None] * (len(positional) - len(node.args.defaults)) + list(node.args.defaults)
    pairs = [*zip(positional, defaults, strict=True), *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
    return tuple(
        Option(
            name=argument.arg,
            type=ast.unparse(argument.annotation) if argument.annotation else "",
            default=ast.unparse(default) if default else "",
        )
        for argument, default in pairs
    )


def _assigned(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _module_file(name: str) -> Path | None:
    """Find the source of a dotted module; imports nothing."""
    parts = name.split(".")
    found: ModuleSpec | None = None
    importlib.invalidate_caches()  # a module written a moment ago is found too
    with importable():
        for depth in range(1, len(parts) + 1):
            folders = found.submodule_search_locations if found else None
            if depth > 1 and folders is None:
                return None  # a module has no modules in it
            found = _find(".".join(parts[:depth]), folders)
            if found is None:
                return None
    return Path(found.origin) if found and found.origin and found.origin.endswith(".py") else None


def _find(name: str, folders: Sequence[str] | None) -> ModuleSpec | None:
    """Ask the import system for one module; unlike `importlib.util.find_spec` it imports no package above it."""
    for finder in sys.meta_path:
        found = finder.find_spec(name, folders)
        if found is not None:
            return found
    return None
