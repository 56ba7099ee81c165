"""Name the version of a model's code, without importing it: what is measured again when somebody edits a model."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.core.errors import BenchError
from bench.registry.catalog import locate
from bench.registry.spec import LIBRARIES, parse

_NOT_FOLLOWED = frozenset({"bench", "torch", "torchvision", "numpy"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def code_hash(spec: str) -> str | None:
    """Hash the source of a model with the files beside it that it imports; a library's by its version.

    Followed are imports, also those inside functions, of files in the folder of the importing file, in the working
    directory, and in the package the file belongs to. An installed package stands by its version instead. Not followed
    are files that are read rather than imported. Where the folder lies does not matter, what is in it does.

    Returns:
        16 hex digits, `torchvision VERSION` (or transformers, timm), or None where there is no source to read.
    """
    try:
        parsed = parse(spec)
        if parsed.kind in LIBRARIES:
            return f"{parsed.kind.value} {importlib.metadata.version(parsed.kind.value)}"
        path, _ = locate(parsed)
        if path is None:
            return None
        path = path.resolve()
        if _INSTALLED & set(path.parts):
            contents = [path.read_bytes(), *_versions(_root_of_package(path), path)]
        else:
            contents = list(_contents(path))
    except (BenchError, OSError, importlib.metadata.PackageNotFoundError):
        return None
    main, *others = (hashlib.sha256(content).hexdigest() for content in contents)
    return hashlib.sha256("".join([main, *sorted(others)]).encode()).hexdigest()[:16]


def _versions(root: Path, path: Path) -> Iterator[bytes]:
    """Return the versions of the distributions that installed the package of a file."""
    package = path.relative_to(root).parts[0].removesuffix(".py")
    for name in owners_of(package):
        yield f"{name} {importlib.metadata.version(name)}".encode()


def owners_of(package: str) -> tuple[str, ...]:
    """Name the distributions that installed a top-level package, sorted; several share a namespace.

    `importlib.metadata.packages_distributions` knows it, too, by a path object for each of 30,000 files, which takes
    eight times as long as reading its first folder off a line.
    """
    return tuple(sorted({distribution.metadata["Name"] for distribution in _distributions().get(package, ())}))


@functools.cache
def _distributions() -> Mapping[str, list[importlib.metadata.Distribution]]:
    found: dict[str, list[importlib.metadata.Distribution]] = {}
    for distribution in importlib.metadata.distributions():
        declared = (distribution.read_text("top_level.txt") or "").split()
        for package in set(declared or _recorded(distribution.read_text("RECORD") or "")):
            found.setdefault(package, []).append(distribution)
    return found


def _recorded(record: str) -> Iterator[str]:
    """Yield the top-level packages of the files that a RECORD lists."""
    for line in record.splitlines():
        top, is_folder, rest = line.partition(",")[0].strip('"').partition("/")
        if (rest if is_folder else top).endswith((".py", ".so", ".pyd")):
            yield top if is_folder else top.partition(".")[0]


def _contents(path: Path) -> Iterator[bytes]:
    """Yield the content of a file, then of all that it imports, each once."""
    known, waiting = {path}, [path]
    while waiting:
        file = waiting.pop()
        content = file.read_bytes()
        yield content
        found = {found for found in _imported(file, content) if found not in known}
        known |= found
        waiting += found


def _imported(file: Path, content: bytes) -> Iterator[Path]:
    roots = tuple(dict.fromkeys([file.parent, Path.cwd(), _root_of_package(file)]))
    for level, name in _import_names(content):
        if level <= len(file.parents):
            yield from _files((file.parents[level - 1],) if level else roots, name)


@functools.lru_cache(maxsize=1024)
def _import_names(content: bytes) -> tuple[tuple[int, str], ...]:
    """Read the imports of a source: how many dots, and the dotted name; a name may be a module of its package."""
    try:
        nodes = list(ast.walk(ast.parse(content)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # Python raises these two for deep nesting
        return ()
    plain = [(0, alias.name) for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    parts = [
        (node.level, ".".join(filter(None, [node.module, alias.name])))
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    return tuple(dict.fromkeys([*plain, *parts]))


def _root_of_package(file: Path) -> Path:
    """Find the folder that holds the outermost package of a file."""
    folder = file.parent
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        folder = folder.parent
    return folder


def _files(roots: tuple[Path, ...], name: str) -> Iterator[Path]:
    """Find what an import of a dotted name runs: every package on the way, and the module."""
    parts = name.split(".")
    if parts[0] in _NOT_FOLLOWED:
        return
    for root in roots:
        found = []
        for depth in range(1, len(parts) + 1):
            place = root.joinpath(*parts[:depth])
            found += [path.resolve() for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()]
        if found:
            yield from found
            return
