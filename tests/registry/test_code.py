from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

import pytest

from bench.registry.code import code_hash


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in a package, with a helper beside it that imports another, and one file that nobody imports."""
    folder = tmp_path / "project"
    (folder / "nets").mkdir(parents=True)
    (folder / "nets" / "__init__.py").write_text("")
    (folder / "nets" / "model.py").write_text("import torch\nfrom . import layers\n\ndef net():\n    import lazy\n")
    (folder / "nets" / "layers.py").write_text("from nets.deeper import width\n")
    (folder / "nets" / "deeper.py").write_text("width = 3\n")
    (folder / "lazy.py").write_text("lazy = 1\n")
    (folder / "other.py").write_text("other = 1\n")
    monkeypatch.chdir(folder)
    return folder


SPECS = ("nets/model.py:net", "nets.model:net")


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("file", ["nets/model.py", "nets/layers.py", "nets/deeper.py", "nets/__init__.py", "lazy.py"])
def test_a_model_changes_with_every_file_it_imports(spec: str, file: str) -> None:
    before = code_hash(spec)
    Path(file).write_text(Path(file).read_text() + "# edited\n")
    assert before is not None
    assert code_hash(spec) not in (None, before)


@pytest.mark.parametrize("spec", SPECS)
def test_a_file_it_does_not_import_changes_nothing(spec: str) -> None:
    before = code_hash(spec)
    Path("other.py").write_text("other = 2\n")
    Path("nets/model.toml").write_text("# claims\n")
    assert code_hash(spec) == before


def test_undoing_an_edit_gives_the_old_hash() -> None:
    path, before = Path("nets/deeper.py"), code_hash(SPECS[0])
    text = path.read_text()
    path.write_text("width = 4\n")
    path.write_text(text)
    assert code_hash(SPECS[0]) == before


def test_where_the_project_lies_does_not_matter(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_hash(SPECS[0])
    moved = Path(shutil.move(project, project.parent / "moved"))
    monkeypatch.chdir(moved)
    assert code_hash(SPECS[0]) == before


def test_options_are_the_cells_not_the_codes() -> None:
    assert code_hash("mlp@width=512") == code_hash("mlp") != code_hash("my_net")


def test_torchvision_stands_by_its_version() -> None:
    assert code_hash("torchvision:resnet18") == f"torchvision {importlib.metadata.version('torchvision')}"


def test_an_installed_package_stands_by_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_hash("fvcore.nn.distributed:Any")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"{name} next")
    assert before is not None
    assert code_hash("fvcore.nn.distributed:Any") not in (None, before)


@pytest.mark.parametrize("spec", ["nowhere", "nowhere.py:net", "math:sin", "no.such.module:net", "broken spec@"])
def test_what_has_no_source_has_no_hash(spec: str) -> None:
    assert code_hash(spec) is None


def test_imports_in_a_circle_end() -> None:
    Path("nets/deeper.py").write_text("from nets import model, layers\nwidth = 3\n")
    assert code_hash(SPECS[0]) is not None


def test_a_file_that_is_not_python_still_has_a_hash() -> None:
    Path("lazy.py").write_text("def (:\n")
    assert code_hash(SPECS[0]) is not None
