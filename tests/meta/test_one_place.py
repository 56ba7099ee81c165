"""What is added in one place is found everywhere: a column in every format, a format in both commands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

COLUMN = """CELLS = (
    real(
        "zebra_seconds", "s", "stripes of a step", "summary.step.point", Shown(name="zebra", scale="s"),
        openmetrics="zebra_seconds", bencher="zebra",
    ),
"""
FORMAT = '''"""Counts cells."""

from bench.report.formats import Format

FORMAT = Format(write=lambda run, _: f"{len(run.records)} zebras\\n")
'''
LOOK = """
from bench.cli import run_command
from bench.report.files import to_frame
from bench.report.formats import Asked, load
from bench.report.html.contract import make_data
from bench.report.html.page import render
from bench.tables.catalog import describe_columns
from bench.tables.table import Page
from tests.report.formats.runs import RUN

asked = Asked(page=Page(width=300))
texts = {name: load(name).write(RUN, asked) for name in ("table", "markdown", "latex", "csv", "bencher", "openmetrics")}
texts |= {"html": render(make_data([RUN])), "readme": describe_columns()}
lacking = [name for name, text in texts.items() if "zebra" not in text]
assert not lacking, lacking
assert "zebra_seconds" in to_frame(RUN.records)
assert load("zebra").write(RUN, asked) == f"{len(RUN.records)} zebras\\n"
"""


def run(folder: Path, *arguments: str) -> str:
    """Run Python in a copy of the product."""
    found = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_a_column_and_a_format_added_in_one_place_are_found_in_all(tmp_path: Path) -> None:
    for package in ("bench", "models", "tests"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    cells = tmp_path / "bench/tables/cells.py"
    text = cells.read_text()
    assert text.count("CELLS = (\n") == 1
    cells.write_text(text.replace("CELLS = (\n", COLUMN))
    (tmp_path / "bench/report/formats/zebra.py").write_text(FORMAT)
    run(tmp_path, "-c", LOOK)
    for command in ("show", "export"):
        assert "zebra" in run(tmp_path, "-m", "bench", command, "--help")
