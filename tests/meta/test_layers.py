"""Imports point down, rooms of one floor do not know each other, heavy libraries stay where they belong."""

from __future__ import annotations

import fnmatch
from collections import Counter
from pathlib import Path

import pytest

from tests.meta.layers import ANSWERS, FENCES, FLOORS, WORKERS, imports, model_violations, violations

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "bench"


def test_no_import_breaks_the_house() -> None:
    found = violations(PACKAGE)
    assert not found, "\n".join(found)


def test_reference_models_import_torch_only() -> None:
    found = model_violations(ROOT / "models")
    assert not found, "\n".join(found)


MOST_LINES, MOST_FILES = 450, 25


def too_large(package: Path) -> list[str]:
    """Name the files with too many lines, and the folders with too many files."""
    found, folders = [], Counter[Path]()
    for path in package.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            folders[path.parent.relative_to(package)] += 1
            if path.suffix == ".py" and (lines := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES:
                found.append(f"{path.relative_to(package)} has {lines} lines, more than {MOST_LINES}")
    return found + [f"{one}/ has {n} files, more than {MOST_FILES}" for one, n in folders.items() if n > MOST_FILES]


@pytest.mark.parametrize("folder", ["bench", "models"])
def test_files_and_folders_are_of_a_size_that_one_can_read(folder: str) -> None:
    found = too_large(ROOT / folder)
    assert not found, "\n".join(found)


def test_a_file_too_long_and_a_folder_too_full_are_found(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    for number in range(MOST_FILES):
        (tmp_path / "core" / f"a{number}.py").write_text("a = 1\n" * MOST_LINES)
    assert not too_large(tmp_path)
    (tmp_path / "core" / "one_more.html").write_text("")
    (tmp_path / "long.py").write_text("a = 1\n" * (MOST_LINES + 1))
    assert too_large(tmp_path) == ["long.py has 451 lines, more than 450", "core/ has 26 files, more than 25"]


def test_every_room_has_a_floor_and_every_floor_a_room() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    rooms |= {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert rooms == set(FLOORS)


def is_worker(file: str) -> bool:
    return fnmatch.fnmatch(file, WORKERS) and file not in {ANSWERS, "runner/workers/__init__.py"}


def test_the_parent_never_imports_what_runs_in_workers() -> None:
    files = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    workers = tuple(f"bench.{file.removesuffix('.py').replace('/', '.')}" for file in files if is_worker(file))
    assert "bench.runner.workers.cells" in workers
    found = [
        f"{file}:{item.line}: {item.module}"
        for file, path in files.items()
        if not is_worker(file)
        for item in imports(path.read_text(encoding="utf-8"))
        if not item.is_for_types and f"{item.module}.".startswith(tuple(f"{worker}." for worker in workers))
    ]
    assert not found, "\n".join(found)


PLANTED = {
    "upwards": ("stats/bad.py", "from bench.report.formats.table import table", "imports point down only"),
    "upwards inside a function": ("core/bad.py", "def f():\n    import bench.runner", "imports point down only"),
    "upwards for types": (
        "store/bad.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bench.measure import clock",
        "imports point down only",
    ),
    "upwards by way of the package": ("device/bad.py", "from bench import counters", "imports point down only"),
    "a neighbour": ("claims/bad.py", "from bench.stats import shift", "do not know each other"),
    "a relative import": ("suite/bad.py", "from . import axes", "relatively"),
    "the reference models": ("counters/bad.py", "from bench.models import my_net", "through the registry"),
    "the front door": ("device/bad.py", "from bench import __version__", "the front door"),
    "the front door, whole": ("runner/bad.py", "import bench", "the front door"),
    "a neighbour's folder": ("report/bad.py", "from bench.measure.profile import spans", "do not know each other"),
    "a room without a floor": ("attic/bad.py", "import os", "has no floor"),
    "numpy in core": ("core/bad.py", "import numpy as np", "standard library only"),
    "torch in stats": ("stats/bad.py", "import torch", "fenced off"),
    "torch in a function of report": ("report/bad.py", "def f():\n    from torch import nn", "fenced off"),
    "torch at the top of registry": ("registry/bad.py", "import torch", "outside a function"),
    "torch in a class body of registry": ("registry/bad.py", "class A:\n    import torch", "outside a function"),
    "torch in the runner's parent": ("runner/executor.py", "import torch.cuda", "fenced off"),
    "pandas at the top of report": ("report/bad.py", "import pandas as pd", "outside a function"),
    "pandas in another file of store": ("store/records.py", "import pandas", "fenced off"),
    "typer in runner": ("runner/bad.py", "import typer", "fenced off"),
    "rich at the top of cli": ("cli/bad.py", "from rich.console import Console", "outside a function"),
    "pynvml in environment": ("device/environment.py", "import pynvml", "fenced off"),
    "torch in the answers of workers": ("runner/workers/answers.py", "import torch", "fenced off"),
    "pytest in testing": ("testing/bad.py", "import pytest", "fenced off"),
    "the front door with a heavy room": ("__init__.py", "from bench.runner.session import execute", "front door"),
}


@pytest.mark.parametrize(("file", "source", "words"), PLANTED.values(), ids=PLANTED)
def test_the_check_can_fail(file: str, source: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    (problem,) = violations(tmp_path)
    assert problem.startswith(file)
    assert words in problem


ALLOWED = {
    "downwards": ("report/good.py", "from bench.stats import shift"),
    "its own room": ("report/good.py", "from bench.report import layout"),
    "the version": ("device/good.py", "from bench.core import __version__"),
    "torch in device": ("device/good.py", "import torch"),
    "torch in a function of registry": ("registry/good.py", "def f():\n    import torch"),
    "torch in a worker": ("runner/workers/cells.py", "import torch"),
    "pandas for types": ("report/good.py", "import typing\nif typing.TYPE_CHECKING:\n    import pandas"),
    "heavy rooms in functions of the front door": ("__init__.py", "def run():\n    import bench.runner.session"),
}


@pytest.mark.parametrize(("file", "source"), ALLOWED.values(), ids=ALLOWED)
def test_the_check_lets_pass_what_is_right(file: str, source: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    assert violations(tmp_path) == []


def test_a_model_that_imports_the_house_is_found(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "import math\nimport torch\nfrom bench.core.workload import Workload\nimport numpy"
    )
    assert [problem.split(": ")[0] for problem in model_violations(tmp_path)] == ["bad.py:3", "bad.py:4"]


def test_every_fence_opens_somewhere() -> None:
    files = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")]
    for fence in FENCES:
        for pattern in (*fence.anywhere, *fence.inside_functions):
            if not pattern.startswith(("suites/", "runner/")):
                assert fnmatch.filter(files, pattern), f"{pattern}, in the fence of {fence.libraries}, names no file"
