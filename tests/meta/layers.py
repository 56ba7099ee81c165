"""Read the imports of a package by AST, and name what breaks the house's rules (docs/design.md)."""

from __future__ import annotations

import ast
import fnmatch
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FLOORS = {
    "core": 0,
    "stats": 1,
    "suite": 1,
    "claims": 1,
    "registry": 1,
    "tables": 2,
    "device": 2,
    "store": 3,
    "counters": 3,
    "report": 4,
    "measure": 4,
    "testing": 4,
    "runner": 5,
    "cli": 6,
    "pytest_plugin": 6,
    "__main__": 7,
}
"""Every package. `bench/__init__.py` is the front door: see `_floor_problem`."""

WORKERS = "runner/workers/*"
"""What runs in worker processes: the parent names these modules and never imports them, so they may use torch."""

ANSWERS = "runner/workers/answers.py"
"""The values that workers return, which both sides import; no torch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """Where a library may be imported: files in `anywhere` freely, files in `inside_functions` only there."""

    libraries: tuple[str, ...]
    anywhere: tuple[str, ...] = ()
    inside_functions: tuple[str, ...] = ()


FENCES = (
    Fence(
        libraries=("torch",),
        anywhere=("device/*", "counters/*", "measure/*", "testing/*", WORKERS),
        inside_functions=("registry/*",),
    ),
    Fence(libraries=("torchvision",), inside_functions=("registry/*", "measure/scenarios/*")),
    Fence(libraries=("fvcore",), anywhere=("runner/workers/preloaded.py",), inside_functions=("counters/*",)),
    Fence(libraries=("pandas", "pyarrow"), anywhere=("report/files.py",), inside_functions=("report/*", "__init__.py")),
    Fence(libraries=("typer",), anywhere=("cli/*",)),
    Fence(libraries=("rich",), inside_functions=("cli/*", "report/*")),
    Fence(libraries=("pynvml",), anywhere=("device/nvml.py",)),
    Fence(libraries=("jinja2",), inside_functions=("report/*",)),
    Fence(libraries=("sqlalchemy",), anywhere=("store/history/*",)),
    Fence(libraries=("sklearn",), inside_functions=("measure/scenarios/*",)),
    Fence(libraries=("transformers",), inside_functions=("registry/*",)),
    Fence(libraries=("pytest", "_pytest"), anywhere=("pytest_plugin.py",)),
    Fence(libraries=("scipy", "hypothesis", "click", "models")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One import statement's module, and where it stands."""

    module: str
    line: int
    is_inside_function: bool
    is_for_types: bool


def imports(source: str) -> Iterator[Import]:
    """Find all imports, also those inside functions and under TYPE_CHECKING; `from a import b` gives `a.b`."""
    yield from _imports(ast.parse(source), is_inside=False, is_for_types=False)


def _imports(node: ast.AST, *, is_inside: bool, is_for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            for module in _modules(child):
                yield Import(module=module, line=child.lineno, is_inside_function=is_inside, is_for_types=is_for_types)
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for statement in child.body:
                wrapped = ast.Module(body=[statement], type_ignores=[])
                yield from _imports(wrapped, is_inside=is_inside, is_for_types=True)
            for statement in child.orelse:
                wrapped = ast.Module(body=[statement], type_ignores=[])
                yield from _imports(wrapped, is_inside=is_inside, is_for_types=is_for_types)
        else:
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, is_inside=is_inside or is_function, is_for_types=is_for_types)


def _modules(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if node.level:
        return ["." * node.level + (node.module or "")]
    return [f"{node.module}.{alias.name}" for alias in node.names]


def violations(package: Path) -> list[str]:
    """Name every import under the package folder that breaks a rule, as `file:line: what`."""
    found = []
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package).as_posix()
        room = file.split("/")[0].removesuffix(".py")
        if room != "__init__" and room not in FLOORS:
            found.append(f"{file}: the room {room!r} has no floor")
            continue
        for item in imports(path.read_text(encoding="utf-8")):
            problem = _floor_problem(room, item) or _fence_problem(file, room, item)
            if problem:
                found.append(f"{file}:{item.line}: {problem}")
    return found


def _floor_problem(room: str, item: Import) -> str | None:
    if item.module.startswith("."):
        return "imports relatively; write the full name"
    top, _, rest = item.module.partition(".")
    if top != "bench":
        return None
    if target_is_door(rest) and room not in ("__init__", "__main__"):
        return "imports the front door, bench itself: name the module, bench.core for the version"
    target = rest.split(".")[0]
    if target == "models":
        return "imports the reference models; they are reached through the registry"
    if room == "__init__":
        is_cheap = FLOORS[target] == 0 or item.is_inside_function
        return None if is_cheap else f"the front door imports {target} outside a function"
    if target == room:
        return None
    if FLOORS[target] > FLOORS[room]:
        return f"{room} (floor {FLOORS[room]}) imports {target} (floor {FLOORS[target]}): imports point down only"
    if FLOORS[target] == FLOORS[room]:
        return f"{room} imports {target}: rooms of one floor do not know each other"
    return None


def target_is_door(rest: str) -> bool:
    """Whether `bench.<rest>` is `bench` itself or a name of it, rather than one of its packages."""
    return rest.split(".")[0] not in (*FLOORS, "models")


def _fence_problem(file: str, room: str, item: Import) -> str | None:
    if item.is_for_types:
        return None  # never runs
    library = item.module.split(".")[0]
    if room == "core" and library != "bench" and library not in sys.stdlib_module_names and item.module[0] != ".":
        return f"core imports {library}: standard library only"
    for fence in FENCES:
        is_open = file != ANSWERS and any(fnmatch.fnmatch(file, pattern) for pattern in fence.anywhere)
        if library not in fence.libraries or is_open:
            continue
        if not any(fnmatch.fnmatch(file, pattern) for pattern in fence.inside_functions):
            return f"imports {library}, which is fenced off here"
        if not item.is_inside_function:
            return f"imports {library} outside a function"
    return None


def model_violations(models: Path) -> list[str]:
    """Name imports of the reference models that are neither torch nor the standard library."""
    return [
        f"{path.name}:{item.line}: imports {item.module}: torch only"
        for path in sorted(models.glob("*.py"))
        for item in imports(path.read_text(encoding="utf-8"))
        if item.module.split(".")[0] not in {"torch", *sys.stdlib_module_names}
    ]
