"""Print for machines and for people."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import Any

from bench.core.jsonio import to_json

JSON_SCHEMA = 1
"""Version of what `--format json` prints; described in docs/json.md. History: 1 (2026-11-23) first."""


def print_json(command: str, **payload: Any) -> None:
    """Print one JSON object: `schema`, `command` and the payload, whose values are written by their fields."""
    document = {"schema": JSON_SCHEMA, "command": command, **to_json(payload)}
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def terminal_width() -> int:
    """Return the columns to print for: the terminal's, `COLUMNS`, or 80 in a pipe."""
    return shutil.get_terminal_size(fallback=(80, 24)).columns


def look() -> dict[str, Any]:
    """Return how tables should look here, as arguments of `report.terminal`: width, colour, unicode."""
    encoding = (sys.stdout.encoding or "").lower()
    return {"width": terminal_width(), "color": uses_color(), "unicode": encoding.startswith("utf")}


def uses_color() -> bool:
    """Whether stdout is a terminal that shows colour (and `NO_COLOR` is not set)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
