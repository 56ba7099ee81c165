"""Import a user's module or file, and say in one line what is wrong with it."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.core.errors import ModelError
from bench.core.text import did_you_mean, one_line

_OFFERED = 8
_PREFIX = "_stepbench_model_"
_stamps: dict[str, tuple[int, int]] = {}  # module name -> (modification time, size) of the file when it was loaded


@contextlib.contextmanager
def importable(*folders: Path) -> Iterator[None]:
    """Put the working directory and further folders first on `sys.path`, as `python -m` and `python FILE` do."""
    added = [str(folder) for folder in (Path.cwd(), *folders) if str(folder) not in sys.path]
    sys.path[:0] = added
    try:
        yield
    finally:
        for folder in added:
            with contextlib.suppress(ValueError):  # the import may have changed sys.path itself
                sys.path.remove(folder)


def load_module(name: str, spec: str) -> ModuleType:
    """Import a dotted module from the working directory or the environment.

    Raises:
        ModelError: There is no such module, or importing it raised.
    """
    importlib.invalidate_caches()  # a module written a moment ago is found too
    with importable(), _explained(spec, name):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
                raise
            raise ModelError(
                f"model {spec!r}: no module named {error.name!r} in {Path.cwd()} or the environment; "
                "for a file write 'path/file.py:callable'"
            ) from None


def load_file(path: Path, spec: str) -> ModuleType:
    """Import a Python file under a private name that is the same for the same path.

    The module stands in `sys.modules`, as pickling, dataclasses and torch.compile need. It is loaded again if the file
    has changed since, so that an edited model is never measured as it was.

    Raises:
        ModelError: There is no such file, it is not Python, or importing it raised.
    """
    if not path.is_file():
        raise ModelError(f"model {spec!r}: no file {str(path)!r} in {Path.cwd()}")
    path = path.resolve()
    name = f"{_PREFIX}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    status = path.stat()
    stamp = (status.st_mtime_ns, status.st_size)
    if name in sys.modules and _stamps.get(name) == stamp:
        return sys.modules[name]
    loader = SourceFileLoader(name, str(path))
    module_spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert module_spec is not None  # a loader was given
    module = importlib.util.module_from_spec(module_spec)
    with importable(path.parent), _explained(spec, path.name):
        sys.modules[name] = module
        try:
            # Compiled here, not by the loader: its cache takes a file edited within a second for the same one.
            exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), module.__dict__)
        except BaseException:
            sys.modules.pop(name, None)
            raise
    _stamps[name] = stamp
    return module


def find_attribute(module: ModuleType, attribute: str, spec: str) -> Any:
    """Follow a dotted path from a module.

    Raises:
        ModelError: There is no such attribute; the message has the nearest public one, or what a module defines.
    """
    found: Any = module
    for part in attribute.split("."):
        known = [name for name in dir(found) if not name.startswith("_")]
        try:
            found = getattr(found, part)
        except AttributeError:
            where = Path(module.__file__ or module.__name__).name
            raise no_attribute(spec, where, part, known, _own(found)) from None
    return found


def no_attribute(spec: str, where: str, part: str, known: Iterable[str], own: Sequence[str]) -> ModelError:
    """Make the error of a name that is not there: with the nearest known one, or the callables of the module's own."""
    offer = f" It defines: {', '.join(own[:_OFFERED])}{', ...' if len(own) > _OFFERED else ''}." if own else ""
    return ModelError(f"model {spec!r}: {where} has no {part!r}.{did_you_mean(part, known) or offer}")


def _own(place: Any) -> list[str]:
    if not isinstance(place, ModuleType):
        return []
    known = [(name, value) for name, value in vars(place).items() if callable(value) and not name.startswith("_")]
    return [name for name, value in known if getattr(value, "__module__", None) == place.__name__]


@contextlib.contextmanager
def _explained(spec: str, what: str) -> Iterator[None]:
    """Turn whatever an import raises into a ModelError of one line."""
    try:
        yield
    except ModelError:
        raise
    except SyntaxError as error:
        place = f"{Path(error.filename).name if error.filename else what}, line {error.lineno or 1}"
        raise ModelError(f"model {spec!r}: {place} is not Python: {error.msg}") from error
    except (Exception, SystemExit) as error:  # a script without a main guard may well call sys.exit
        line = _last_line(error, what)
        raise ModelError(f"model {spec!r}: importing {what}{line} raised {one_line(error)}") from error


def _last_line(error: BaseException, what: str) -> str:
    """Find the last line of the imported file that was running: ` (line 3)`; empty if it is not in the traceback."""
    files = (what, what.rpartition(".")[2] + ".py")  # a file's name, or that of a dotted module
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name in files]
    return f" (line {lines[-1]})" if lines else ""
