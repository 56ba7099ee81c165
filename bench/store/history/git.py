"""What git knows of commits: which are reachable, and which descend from one. Without git or a repository, nothing."""

from __future__ import annotations

import functools
from pathlib import Path

from bench.core.errors import BenchError
from bench.core.git import git


def reachable_commits(folder: Path) -> frozenset[str] | None:
    """Return every commit that a branch, a tag or HEAD reaches; None outside of a repository.

    A shallow clone reaches little of what there is, so it counts as none.
    """
    if _lines(folder, "rev-parse", "--is-shallow-repository") != ["false"]:
        return None
    lines = _lines(folder, "rev-list", "--all", "HEAD")
    return None if lines is None else frozenset(lines)


@functools.lru_cache(maxsize=256)
def descendants(folder: Path, commit: str) -> frozenset[str]:
    """Return the commits of any branch that descend from this one; none where git does not know it."""
    return frozenset(_lines(folder, "rev-list", "--ancestry-path", "--all", "HEAD", f"^{commit}") or ())


def _lines(folder: Path, *arguments: str) -> list[str] | None:
    try:
        return git(folder, *arguments).split()
    except BenchError:
        return None
