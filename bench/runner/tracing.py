"""Traces of cells and cases for ui.perfetto.dev: where they lie, and what is said where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.core.record import Outcome
from bench.core.text import plain
from bench.runner.endings import Ending
from bench.store.atomic import make_folder

TRACES = "traces"
"""Folder of a run with a trace per cell or case, and per rank."""


def trace_file(folder: Path, key: str) -> str:
    """Make the folder of traces, and return the file of one; a rank's has `rankN-` before its name."""
    make_folder(folder)
    return str(folder / f"{key}.json.gz")


def tell_untraced(name: str, ending: Ending) -> None:
    """Say on stderr why something has no trace: its figures stand without it."""
    if ending.outcome is not Outcome.OK:
        print(f"bench: no trace of {plain(name)}: {plain(ending.reason or ending.outcome.value)}", file=sys.stderr)
