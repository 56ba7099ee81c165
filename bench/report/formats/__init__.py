"""Formats a stored run as text. One file per format, whose name is the file's.

- `table`: tables of 80 columns and more, for a terminal; `markdown`: for pull requests; `latex`: for a paper
- `csv`: one of the run's tables, for a spreadsheet
- `pytest_benchmark`: JSON that `pytest-benchmark compare` reads
- `github_action_benchmark`, `github_action_benchmark_bigger`: what should shrink, and what should grow
- `bencher`: Bencher Metric Format
- `openmetrics`: OpenMetrics text, for Prometheus
- `junit`: JUnit XML, for the test pages of CI servers
- `tensorboard`, `mlflow`: folders of files for those programs; extras of these names

`bench show` and `bench export` offer every file of this folder; those that write folders are offered by `bench export`
only. A cell without a figure never becomes a zero; it is left out if the format cannot express it. Units are in the
names, or where the format wants them; every doubt about a figure is exported with it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.core.record import Record
    from bench.store.stored import StoredComparison, StoredRun
    from bench.tables.table import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Options of a format.

    Attributes:
        page: Page on which the text is shown.
        table: Table of the run, for a format that holds only one.
        view: View of the columns of cells; `cold` shows how they started.
        extra_info: Makes pytest-benchmark's `extra_info` of a record.
    """

    page: Page
    table: str = "cells"
    view: str = ""
    extra_info: Callable[[Record], dict[str, Any]] = field(default=lambda _: {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format; each file of this folder has one, called FORMAT.

    Attributes:
        write: Writes a run of cells as text.
        write_folder: Writes it into a folder instead, beside its content, for programs that read folders.
        compare: Writes a comparison of `bench ab`; None if the format cannot express one.
        holds_failures: Whether it can express a cell that failed.
        holds_claims: Whether it can express the claims of the run.
        holds_verdicts: Whether it can express answers of check and gate.
    """

    write: Callable[[StoredRun, Asked], str] = lambda *_: ""
    write_folder: Callable[[StoredRun, Path], None] | None = None
    compare: Callable[[StoredComparison, Asked], str] | None = None
    holds_failures: bool = False
    holds_claims: bool = False
    holds_verdicts: bool = False


FOLDERS = ("mlflow", "tensorboard")
"""Formats of programs that read folders; each needs the extra of its name."""


def names() -> list[str]:
    """List the formats of text by the names of their files, importing none."""
    files = (module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))
    return [name for name in files if name not in FOLDERS]


def load(name: str) -> Format:
    """Import a format by its name."""
    found: Format = import_module(f"{__name__}.{name.replace('-', '_')}").FORMAT
    return found
