"""What is installed is what is in the folders: `bench` with the models and data files in it, and nothing beside it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def package_folders() -> set[str]:
    return {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "bench").rglob("__init__.py")
        if "__pycache__" not in path.parts
    }


def test_the_package_list_is_the_folders() -> None:
    listed = SETTINGS["tool"]["setuptools"]["packages"]
    assert listed == sorted(listed)
    assert set(listed) == package_folders() | {"bench.models"}


def test_every_reference_model_is_an_entry_point() -> None:
    entries = SETTINGS["project"]["entry-points"]["bench.models"]
    assert entries == {path.stem: f"bench.models.{path.stem}" for path in model_files()}


def model_files() -> list[Path]:
    return [path for path in sorted((ROOT / "models").glob("*.py")) if path.stem != "__init__"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel offline from a copy, so that no build folder is left in the tree."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("bench", "models"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(out), "."]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("stepbench-*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(built: Path) -> set[str]:
    """Return the names in it."""
    with zipfile.ZipFile(built) as archive:
        names = set(archive.namelist())
        (top,) = [name for name in names if name.endswith(".dist-info/top_level.txt")]
        assert archive.read(top).decode() == "bench\n"
    return names


def test_the_wheel_has_bench_at_its_top_and_nothing_else(wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"bench"}


def test_the_wheel_has_every_module(wheel: set[str]) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bench").rglob("*.py")}
    modules |= {f"bench/models/{path.name}" for path in (ROOT / "models").glob("*.py")}
    assert {name for name in wheel if name.endswith(".py")} == modules


def test_the_wheel_has_every_data_file(wheel: set[str]) -> None:
    data = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "bench").rglob("*")
        if path.suffix in {".toml", ".css", ".js", ".html"}
    }
    data |= {f"bench/models/{path.name}" for path in (ROOT / "models").glob("*.toml")}
    assert "bench/suite/builtin/quick.toml" in data
    assert "bench/models/my_net.toml" in data
    assert "bench/report/html/templates/page.html" in data
    assert {name for name in wheel if name.endswith((".toml", ".css", ".js", ".html"))} == data
    assert "bench/py.typed" in wheel


@pytest.mark.slow
def test_the_wheel_measures_in_an_environment_of_its_own(built: Path, tmp_path: Path) -> None:
    """The README's model and its pytest example, in an empty folder, without the repository at hand."""
    environment, folder = tmp_path / "env", tmp_path / "empty"
    folder.mkdir()
    venv.create(environment, with_pip=False)
    binaries = environment / "bin"
    install = ["install", "--no-deps", "--no-index", "--quiet", "--disable-pip-version-check", str(built)]
    run([sys.executable, "-m", "pip", "--python", str(binaries / "python"), *install], folder)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "needs.pth").write_text(f"{Path(typer.__file__).parents[1]}\n")  # what the wheel needs, torch above all

    where = run([str(binaries / "python"), "-c", "import bench; print(bench.__file__)"], folder)
    assert Path(where.strip()).is_relative_to(site)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (net,) = re.findall(r"<!-- file: net.py -->\n```python\n(.*?)```", readme, re.DOTALL)
    (folder / "net.py").write_text(net)
    command = "run net.py:small --input-shape 3x32x32 -b 8 --budget 10ms --format json"
    answer = run([str(binaries / "bench"), *command.split()], folder)
    records = json.loads(answer)["records"]
    assert [record["outcome"] for record in records] == ["ok"]
    (test,) = re.findall(r"```python\n(import pytest.*?)```", readme, re.DOTALL)
    (folder / "test_mine.py").write_text(test.replace("precision=", "budget_seconds=0.01, precision="))
    said = run(
        [str(binaries / "python"), "-m", "pytest", "--benchmark-only", "-q", "-k", "b8 and fp32", "test_mine.py"],
        folder,
    )
    assert "1 passed" in said


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
