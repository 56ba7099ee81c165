"""Golden files: text that a person has looked at, compared to the letter; refreshed only by BENCH_UPDATE_GOLDEN=1."""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def check_golden(name: str, text: str) -> None:
    """Compare a text with its golden file, or write the file where BENCH_UPDATE_GOLDEN=1 asks for it."""
    check_file(GOLDEN / name, text)


def check_file(path: Path, text: str) -> None:
    if os.environ.get("BENCH_UPDATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"{path.name} is missing; make it with BENCH_UPDATE_GOLDEN=1 and read it"
    assert text == path.read_text(encoding="utf-8"), f"{path.name} differs; if meant so: BENCH_UPDATE_GOLDEN=1"
