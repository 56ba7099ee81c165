"""Counts kept from one command to the next, found again by what they were counted of.

    ~/.cache/stepbench/counts/<question>/<content>.json

A *question* is the cell, what was asked about it, and from where. An answer holds as long as its *content* does: every
source file that was imported outside the installed packages, and the versions of the distributions that were imported,
as they were when the model was counted. So a lookup hashes files and imports nothing.

They lie in the user's cache and not with the results: they can be lost without loss, and all projects share them.
Verdicts (`gate`, `check`, `ci`) never read them. Not seen: data that a model reads while it is built, and a file that
comes to stand before another on the path; `--recount` is for those.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.core.advice import Advice
from bench.core.cell import Cell, short_hash
from bench.core.errors import StoreError
from bench.core.files import read_file
from bench.core.jsonio import from_json, parse_json, to_json
from bench.core.record import Counters
from bench.registry.code import owners_of
from bench.store.atomic import make_folder, write_bytes

SCHEMA = 1
"""Version of the files. History: 1 (2026-11-29) first. A file of another version is no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The code that a count rests on.

    Attributes:
        sources: Path and SHA-256 of every imported file outside the installed packages.
        packages: Top-level names of what was imported from installed packages.
    """

    sources: tuple[tuple[str, str], ...]
    packages: tuple[str, ...]


def imported_code(since: float) -> Imported | None:
    """Read what this process has imported; None if a file was changed after `since`, so that nobody knows which.

    Args:
        since: A time before the first import of a user's file, in seconds since the epoch.
    """
    sources: dict[str, str] = {}
    packages: set[str] = set()
    for name, module in list(sys.modules.items()):
        file = vars(module).get("__file__") if hasattr(module, "__dict__") else None
        if not isinstance(file, str):
            continue
        if _is_installed(file):
            packages.add(name.partition(".")[0])
            continue
        try:
            if Path(file).stat().st_mtime >= since:
                return None
            sources[file] = _digest(file)
        except OSError:
            return None
    return Imported(sources=tuple(sorted(sources.items())), packages=tuple(sorted(packages)))


_STANDARD_LIBRARY = str(Path(os.__file__).resolve().parent)
_INSTALLED = tuple(f"{os.sep}{folder}{os.sep}" for folder in ("site-packages", "dist-packages"))


def _is_installed(file: str) -> bool:
    return file.startswith(_STANDARD_LIBRARY) or any(folder in file for folder in _INSTALLED)


class KeptCounts:
    """Counts in a folder; damaged files are no answers, and are rewritten.

    Args:
        folder: Where they lie; by default `cache_folder()`.

    Attributes:
        found: Number of answers found so far.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or cache_folder()
        self._digests: dict[str, str | None] = {}
        self.found = 0

    def find(self, cell: Cell, **asked: bool) -> tuple[Counters, tuple[Advice, ...]] | None:
        """Look up the counters and doubts of a cell, by what the count was to contain; None if it must be counted."""
        for path in sorted(self._place(cell, asked).glob("*.json")):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError, StoreError):
                data = parse_json(read_file(path))
                if data["schema"] == SCHEMA and self._holds(data["sources"], data["distributions"]):
                    counters = from_json(Counters, data["counters"])
                    advice = tuple(from_json(Advice, one) for one in data["advice"])
                    self.found += 1
                    return counters, advice
        return None

    def keep(self, cell: Cell, counters: Counters, advice: Iterable[Advice], imported: Imported, **asked: bool) -> None:
        """Keep an answer; where nothing can be written, nothing is kept."""
        sources, distributions = dict(imported.sources), _versions(imported.packages)
        data = {
            "schema": SCHEMA,
            "cell": to_json(cell),
            "sources": sources,
            "distributions": distributions,
            "counters": to_json(counters),
            "advice": [to_json(one) for one in advice],
        }
        place = self._place(cell, asked)
        with contextlib.suppress(StoreError):
            make_folder(place)
            name = short_hash([sources, distributions])
            write_bytes(place / f"{name}.json", json.dumps(data, allow_nan=False).encode())

    def _place(self, cell: Cell, asked: Mapping[str, bool]) -> Path:
        here = [str(Path.cwd()), os.environ.get("PYTHONPATH", ""), sys.version]
        return self._folder / short_hash([to_json(cell), dict(asked), here])

    def _holds(self, sources: Mapping[str, str], distributions: Mapping[str, str]) -> bool:
        return all(_version(name) == version for name, version in distributions.items()) and all(
            self._digest_of(path) == digest for path, digest in sources.items()
        )

    def _digest_of(self, path: str) -> str | None:
        """Hash a file once per command; None if it is gone."""
        if path not in self._digests:
            try:
                self._digests[path] = _digest(path)
            except OSError:
                self._digests[path] = None
        return self._digests[path]


def cache_folder() -> Path:
    """Name the folder of kept counts: in `STEPBENCH_CACHE`, else in the user's cache."""
    own = os.environ.get("STEPBENCH_CACHE")
    base = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stepbench"
    return base / "counts"


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _versions(packages: Iterable[str]) -> dict[str, str]:
    names = {owner for package in packages for owner in owners_of(package)}
    return {name: version for name in sorted(names) if (version := _version(name)) is not None}


@functools.cache
def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
