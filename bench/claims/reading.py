"""Pieces that claim files are read with: each checks one kind of TOML value and says what would be right."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from bench.core.errors import UsageError
from bench.core.files import read_toml

_FILE_KEYS = ("document", "claim", "ratio")
_DOCUMENT_KEYS = ("title", "place", "model", "input_shape")


def read_file(path: str | Path) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Read a claim file; return all of it, and its `[document]`.

    Raises:
        UsageError: It cannot be read, is not TOML, or has an unknown key.
    """
    content = _parse_toml(Path(path))
    refuse_unknown_keys(content, _FILE_KEYS, f"{path}")
    document = need_table(content.get("document"), f"{path}: [document]")
    refuse_unknown_keys(document, _DOCUMENT_KEYS, f"{path}: [document]")
    read_text(document, "title", f"{path}: [document]", required=True)
    return content, document


def _parse_toml(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such claim file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # its message ends in the line and column
        raise UsageError(f"{path}: is not TOML: {error}") from None


def need_table(value: Any, where: str) -> Mapping[str, Any]:
    """Return a TOML table.

    Raises:
        UsageError: It is missing or something else.
    """
    if value is None:
        raise UsageError(f"{where} is missing; a claim file starts with [document] and its title")
    if not isinstance(value, dict):
        raise UsageError(f"{where} needs a table, found {value!r}")
    return value


def entries(content: Mapping[str, Any], key: str, where: str) -> list[Any]:
    """Return the `[[key]]` tables of a file; none is an empty list.

    Raises:
        UsageError: The key holds something else.
    """
    value = content.get(key, [])
    if not isinstance(value, list):
        raise UsageError(f"{where}: no {key} found; write each as a [[{key}]] table")
    return value


def read_text(table: Mapping[str, Any], key: str, where: str, *, required: bool = False) -> str:
    """Return a text; empty where it is missing.

    Raises:
        UsageError: It is no text, or missing although required.
    """
    value = table.get(key, "")
    if not isinstance(value, str):
        raise UsageError(f"{where}: {key} needs text, found {value!r}")
    if required and not value.strip():
        raise UsageError(f"{where}: has no {key!r}; add it")
    return value


def read_source(entry: Mapping[str, Any], document: Mapping[str, Any], where: str) -> str:
    """Return the source of a claim: its own, or the document's title and place."""
    place = read_text(document, "place", f"{where}: [document]")
    return read_text(entry, "source", where) or ", ".join(filter(None, (document["title"], place)))


def refuse_unknown_keys(table: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Refuse a misspelt key.

    Raises:
        UsageError: There is one; the message suggests another.
    """
    for key in table:
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}; {suggest(key, known)}")


def suggest(name: str, known: Collection[str]) -> str:
    """Suggest what could have been meant."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_size(value: Any) -> bool:
    """Whether a value is a whole number of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
