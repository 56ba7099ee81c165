"""A package's docstring is its README: it names every module in it, and lists none that is gone."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "bench"
OTHERWISE = {"cli", "core", "claims", "registry", "stats", "report/html", "report/html/sections"}
"""Packages whose docstrings say something else: commands are listed by `bench --help`, sections by their page."""
PACKAGES = sorted(
    folder
    for path in PACKAGE.rglob("__init__.py")
    if (folder := path.parent.relative_to(PACKAGE).as_posix()) not in {".", *OTHERWISE}
)


def docstring(folder: str) -> str:
    return ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text(encoding="utf-8"))) or ""


def modules(folder: str) -> set[str]:
    here = PACKAGE / folder
    packages = {path.parent.name for path in here.glob("*/__init__.py")}
    return packages | {path.stem for path in here.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("folder", PACKAGES)
def test_a_package_names_every_module_in_it(folder: str) -> None:
    named = {part for text in re.findall(r"`([\w.]+)", docstring(folder)) for part in text.split(".")}
    assert modules(folder) - named == set()


@pytest.mark.parametrize("folder", [folder for folder in PACKAGES if folder != "counters"])
def test_a_package_lists_no_module_that_is_gone(folder: str) -> None:
    heads = re.findall(r"^- ((?:`[\w.]+`(?:, )?)+)", docstring(folder), re.MULTILINE)
    listed = {text.split(".")[0] for head in heads for text in re.findall(r"`([\w.]+)`", head)}
    assert listed - modules(folder) == set()


def test_the_packages_are_found() -> None:
    assert {"runner", "runner/ab", "tables", "device", "store/history"} <= set(PACKAGES)
