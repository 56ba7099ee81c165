"""Which distribution installed a package.

`importlib.metadata.packages_distributions` knows it, too, by a path object for each of 30,000 installed files, which
takes a second where this takes an eighth.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Iterator, Mapping


def owners_of(package: str) -> tuple[str, ...]:
    """Name the distributions that installed a top-level package, sorted; several share a namespace."""
    return tuple(sorted({distribution.metadata["Name"] for distribution in _distributions().get(package, ())}))


@functools.cache
def _distributions() -> Mapping[str, list[importlib.metadata.Distribution]]:
    found: dict[str, list[importlib.metadata.Distribution]] = {}
    for distribution in importlib.metadata.distributions():
        declared = (distribution.read_text("top_level.txt") or "").split()
        for package in set(declared or _recorded(distribution.read_text("RECORD") or "")):
            found.setdefault(package, []).append(distribution)
    return found


def _recorded(record: str) -> Iterator[str]:
    """Yield the top-level packages of the files that a RECORD lists."""
    for line in record.splitlines():
        top, is_folder, rest = line.partition(",")[0].strip('"').partition("/")
        if (rest if is_folder else top).endswith((".py", ".so", ".pyd")):
            yield top if is_folder else top.partition(".")[0]
