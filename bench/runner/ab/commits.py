"""Which commits lie between two, and which of them can have made anything slower."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from bench.core.comparison import Commit
from bench.core.errors import BenchError, NothingMeasuredError, UsageError
from bench.core.git import git
from bench.core.units import counted
from bench.runner.ab.bisect import History
from bench.runner.ab.worktrees import need_commit, repository_of

NO_CODE = ("docs", "doc", "tests", "test", ".github")
"""Folders whose commits are no suspects."""

_NO_CODE = (
    *(f":(top,exclude,glob)**/{name}/**" for name in NO_CODE),
    *(f":(top,exclude,glob)**/*.{ending}" for ending in ("md", "rst")),
)


def list_history(
    good: str, bad: str, *, paths: Sequence[str] = (), targets: Sequence[str] = (), has_all_parents: bool = False
) -> History:
    """List the commits after `good` up to `bad` that touch code, in the repository of the working folder.

    Args:
        good: Revision; an ancestor of `bad`.
        bad: Revision.
        paths: Suspect only commits that touch these; all but documentation and tests if not given.
        targets: What is measured; a model in a folder of tests makes tests code.
        has_all_parents: Suspect commits of merged branches too, not the merges alone.

    Raises:
        NothingMeasuredError: A revision names no commit.
        UsageError: There is no commit to suspect.
    """
    cwd = Path.cwd()
    repository = repository_of(cwd)
    if repository is None:
        raise NothingMeasuredError(f"{cwd} is in no git repository, and bisect looks among commits")
    for side, text in (("good", good), ("bad", bad)):
        if not text.strip():
            raise UsageError(f"{side} is empty; name a revision, for example v1.0 or HEAD~20")
        if text in (".", ".."):
            raise UsageError(f"{side} {text!r} is a folder, and bisect looks among commits; name a revision")
    first, last = (need_commit(repository, text, side=side) for side, text in (("good", good), ("bad", bad)))
    if first == last:
        raise UsageError(f"good and bad are the same commit, {first[:9]}")
    _need_ancestor(repository, first, last, good, bad)
    line = () if has_all_parents else ("--first-parent",)
    between = (*line, "--topo-order", "--reverse", f"{first}..{last}")
    entries = git(repository, "log", "--format=%H%x09%P%x09%s", *between).splitlines()
    found = [(name, parents.split(), subject) for name, parents, subject in (e.split("\t", 2) for e in entries)]
    touching = set(git(cwd, "rev-list", "--full-history", *between, "--", *_pathspecs(paths, targets)).splitlines())
    kept = [index for index, (name, _, _) in enumerate(found) if name in touching]
    if kept and has_all_parents and kept[-1] != len(found) - 1:
        kept.append(len(found) - 1)  # a merge that changed nothing itself, but alone holds both of its sides
    if not kept:
        where = " ".join(paths) if paths else "code (docs, tests, *.md and *.rst do not count)"
        raise UsageError(
            f"none of {counted(len(found), 'commit')} between {good} and {bad} touches {where}; see --paths"
        )
    holds = np.tri(len(found), dtype=bool) if line else _holds([(name, parents) for name, parents, _ in found])
    (subject,) = git(repository, "log", "-1", "--format=%s", first).splitlines() or [""]
    return History(
        good=Commit(name=first, subject=subject),
        commits=tuple(Commit(name=found[index][0], subject=found[index][2]) for index in kept),
        parents=tuple(found[index][1][0] for index in kept),
        holds=holds[np.ix_(kept, kept)],
    )


def _need_ancestor(repository: Path, first: str, last: str, good: str, bad: str) -> None:
    if _is_ancestor(repository, first, last):
        return
    if _is_ancestor(repository, last, first):
        raise UsageError(f"good {good} is newer than bad {bad}; write `bench bisect {bad} {good}`")
    if git(repository, "rev-parse", "--is-shallow-repository") == "true":
        hint = "this checkout is shallow: fetch the commits between"
    else:
        hint = f"name an ancestor, for example what `git merge-base {good} {bad}` prints"
    raise UsageError(f"good {good} is no ancestor of bad {bad}; {hint}")


def _is_ancestor(repository: Path, first: str, last: str) -> bool:
    try:
        git(repository, "merge-base", "--is-ancestor", first, last)
    except BenchError:
        return False
    return True


def _pathspecs(paths: Sequence[str], targets: Sequence[str]) -> tuple[str, ...]:
    """Pass git the files that count."""
    if paths:
        return tuple(paths)
    files = [PurePosixPath(target.partition(":")[0].replace(".", "/")) for target in targets]
    is_test_code = any(set(file.parts[:-1]) & set(NO_CODE) for file in files)
    return (":(top)",) if is_test_code else (":(top)", *_NO_CODE)


def _holds(commits: Sequence[tuple[str, list[str]]]) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return for every commit which of them its history holds; parents stand before their children."""
    places = {name: index for index, (name, _) in enumerate(commits)}
    holds = np.eye(len(commits), dtype=bool)
    for index, (_, parents) in enumerate(commits):
        for parent in parents:
            if parent in places:
                holds[index] |= holds[places[parent]]
    return holds
