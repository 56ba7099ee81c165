"""Doors stay cheap: importing them loads nothing heavy, checked in fresh processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tests.cli.stored import store_run

HEAVY = ("torch", "torchvision", "pandas", "numpy", "pyarrow", "rich", "fvcore", "pynvml", "sqlalchemy", "jinja2")


def loaded(code: str, cwd: Path, heavy: tuple[str, ...] = HEAVY) -> list[str]:
    """Run code in a fresh process; return which heavy packages it has loaded in the end."""
    report = f"import sys; print('LOADED', *[name for name in {heavy!r} if name in sys.modules])"
    command = [sys.executable, "-c", f"{code}\n{report}"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    "module", ["bench", "bench.cli", "bench.pytest_plugin", "bench.core.record", "bench.suite.file"]
)
def test_importing_it_loads_nothing_heavy(module: str, tmp_path: Path) -> None:
    # pytest itself imports rich or numpy in no version we support, so the plugin's own imports are what shows.
    assert loaded(f"import {module}", tmp_path) == []


def commands() -> list[list[str]]:
    from bench.cli import app

    found: list[list[str]] = []
    for name, command in typer.main.get_command(app).commands.items():
        found += [[name], *([name, below] for below in getattr(command, "commands", {}))]
    return found


def test_all_commands_are_looked_at() -> None:
    assert {"run", "machine peaks", "history show"} <= {" ".join(names) for names in commands()}


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    every = [["--help"], ["--version"], *([*names, "--help"] for names in commands())]
    code = f"""
import sys
from bench.cli import run_command
for arguments in {every!r}:
    assert run_command(arguments) == 0
    found = [name for name in {HEAVY!r} if name in sys.modules]
    assert not found, (arguments, found)
"""
    assert loaded(code, tmp_path) == []


def test_the_parent_of_a_run_never_imports_torch(tmp_path: Path) -> None:
    assert loaded("import bench.runner.session, bench.runner.executor", tmp_path, ("torch", "pandas")) == []


def test_the_check_can_fail(tmp_path: Path) -> None:
    assert loaded("import bench.stats.estimate", tmp_path) == ["numpy"]
    (tmp_path / "rich.py").write_text("")
    assert loaded("from bench.cli import app\nimport rich", tmp_path) == ["rich"]


@pytest.mark.parametrize(
    ("commands", "is_page"),
    [
        ([["show", "--format", "csv"], ["show", "--format", "json"], ["export", "--to", "junit"]], False),
        ([["report"]], True),
    ],
    ids=["others", "report"],
)
def test_only_the_report_loads_html_sections(commands: list[list[str]], is_page: bool, tmp_path: Path) -> None:
    store_run(tmp_path / "results")
    code = f"from bench.cli import run_command\nassert not any([run_command(one) for one in {commands!r}])"
    assert bool(loaded(code, tmp_path, ("bench.report.html.sections", "bench.report.html.contract"))) == is_page
