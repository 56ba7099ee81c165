"""Which names there are, without importing torch: the STEPBENCH_MODELS folder, entry points, torchvision's source."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import re
from importlib.metadata import EntryPoint
from pathlib import Path

from bench.core.errors import ModelError, UnknownModelError
from bench.registry.suggest import nearest

GROUP = "bench.models"
FOLDER_VARIABLE = "STEPBENCH_MODELS"
_REGISTERED = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)


def names() -> tuple[str, ...]:
    """List the reference and plugin models: those of the STEPBENCH_MODELS folder first, then the entry points."""
    return tuple(dict.fromkeys([*folder_files(), *entry_points()]))


def entry_points() -> dict[str, EntryPoint]:
    """Find the installed models by name; loads none."""
    return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}


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
    """Find the source file of each of torchvision's classification models; empty where torchvision is not installed.

    Importing torchvision takes seconds and fails beside a torch of another build, so the names are read from the
    decorators in its source (a test compares them with `torchvision.models.list_models`). Detection, segmentation,
    video, optical flow and quantised models are in sub-packages, and are left out.
    """
    package = importlib.util.find_spec("torchvision")
    folders = package.submodule_search_locations if package else None
    files = [path for folder in folders or () for path in sorted((Path(folder) / "models").glob("*.py"))]
    return {name: path for path in files for name in _REGISTERED.findall(path.read_text(encoding="utf-8"))}


def unknown_name(name: str) -> UnknownModelError:
    """Make the error for a name that nothing answers to, with the nearest name there is."""
    torchvision = {known: f"torchvision:{known}" for known in sorted(torchvision_sources())}
    own = {known: known for known in names()}
    match = nearest(name.removeprefix("torchvision:"), [*own, *torchvision])
    hint = f" Did you mean {({**torchvision, **own})[match]!r}?" if match else ""
    return UnknownModelError(f"no model named {name!r}.{hint} Or pass 'package.module:callable'. See 'bench list'.")
