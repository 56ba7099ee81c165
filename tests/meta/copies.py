"""A copy of the product to which something is added, run as a user runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.store.stored import StoredRun

ROOT = Path(__file__).parents[2]
LATEST = """
import sys
from bench.store.runs import RunFolder
from bench.store.stored import read_stored_run
from tests.meta.copies import lacking

found = lacking(read_stored_run(RunFolder.open("latest")), sys.argv[1])
assert not found, found
"""


def lacking(run: StoredRun, word: str) -> list[str]:
    """Name the places that show a run and not this word: terminal, Markdown, LaTeX, CSV and HTML."""
    from bench.report.formats import Asked, load
    from bench.report.formats.latex import escape
    from bench.report.html.contract import make_data
    from bench.report.html.page import render
    from bench.tables.table import Page

    asked = Asked(page=Page(width=300))
    texts = {name: load(name).write(run, asked) for name in ("table", "markdown", "latex", "csv")}
    texts["html"] = render(make_data([replace(run, info=replace(run.info, command=()))]))  # which was typed
    return [name for name, text in texts.items() if word not in text and escape(word) not in text]


class Copy:
    """The package in a folder of its own, where it is changed."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.folder = folder
        for package in ("bench", *more):
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        if "tests" not in more:
            (folder / "tests/meta").mkdir(parents=True)
            shutil.copy(__file__, folder / "tests/meta")

    def change(self, file: str, before: str, after: str) -> None:
        path = self.folder / "bench" / file
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1, (file, before)
        path.write_text(text.replace(before, after), encoding="utf-8")

    def add(self, file: str, text: str) -> None:
        (self.folder / file).write_text(text, encoding="utf-8")

    def python(self, *arguments: str, exit_code: int = 0) -> str:
        """Run Python and return what it printed."""
        environment = os.environ | {"PYTHONPATH": str(self.folder), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def bench(self, *arguments: str, exit_code: int = 0) -> str:
        """Run a command."""
        return self.python("-m", "bench", *arguments, exit_code=exit_code)

    def measure(self, model: str, size: int, *options: str) -> Path:
        """Measure a model of vectors for a moment; return the folder of the run."""
        self.bench("run", model, "--input", str(size), "-b", "2", "--budget", "10ms", "-q", *options)
        (run,) = (path.parent for path in (self.folder / "results").glob("*/run.json"))
        return run

    def shows(self, word: str) -> None:
        """See to it that the newest run shows a word wherever it is shown."""
        self.python("-c", LATEST, word)
