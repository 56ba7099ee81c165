"""`results/accepted.csv`: changes that are known and meant so, committed beside the expected counters.

    cell,commit,metric,reason
    my_net/train/*,1a2b3c4,step_median_seconds,"bigger hidden layer, PR 12"

From the first measurement of that commit on, or of one that descends from it, the cell has a new baseline: what lies
before is no longer its past, and the change itself is never nominated.

What git knows of commits: which are reachable, and which descend from one. Without git or a repository, nothing.
"""

from __future__ import annotations

import csv
import fnmatch
import functools
import io
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench.core.errors import BenchError, StoreError, UsageError
from bench.core.files import read_text_file
from bench.core.git import git
from bench.core.history import AcceptedChange, AcceptedMark
from bench.core.text import nearest
from bench.store.atomic import csv_lines, store_error
from bench.store.history.schema import EXACT, MEASURED

HEADER = ("cell", "commit", "metric", "reason")
OUTCOME = "outcome"
"""Not a measured column, but it can change and be accepted like one."""

_COMMIT = re.compile(r"[0-9a-f]{7,64}")

Descendants = Callable[[str], frozenset[str]]
"""All commits that descend from one, by its (shortened) hash; empty outside of its repository."""


def read_accepted(path: Path) -> tuple[AcceptedChange, ...]:
    """Read the accepted changes; none where there is no file.

    Raises:
        StoreError: A line makes no sense; the message names it.
    """
    try:
        text = read_text_file(path)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise store_error("read", path, error) from error
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} is not UTF-8 text: {error.reason}") from error
    rows: list[AcceptedChange] = []
    reader = csv.reader(io.StringIO(text))
    for values in csv_lines(reader, path):
        where = f"{path}:{reader.line_num}"
        if reader.line_num == 1:
            if tuple(values) != HEADER:
                found = " ".join(",".join(values).split())  # a quoted field may hold lines
                raise StoreError(f"{where}: the columns must be {','.join(HEADER)}, found {found}")
        elif any(values) and not values[0].startswith("#"):
            rows.append(_read(values, where, reader.line_num))
    return tuple(rows)


def _read(values: Sequence[str], where: str, line: int) -> AcceptedChange:
    if len(values) != len(HEADER):
        raise StoreError(f"{where}: {len(values)} fields, not {len(HEADER)}; put a reason with commas in quotes")
    cell, commit, metric, reason = (value.strip() for value in values)
    if not cell:
        raise StoreError(f"{where}: which cell? Write its key, its name, or a glob such as my_net/*")
    if not _COMMIT.fullmatch(commit.lower()):
        raise StoreError(f"{where}: {commit!r} is no commit; write at least 7 of its hex digits")
    if metric not in ("*", OUTCOME):
        try:
            check_metric(metric)
        except UsageError as error:
            raise StoreError(f"{where}: {error}") from None
    if not reason:
        raise StoreError(f"{where}: an accepted change needs a reason")
    return AcceptedChange(cell=cell, commit=commit.lower(), metric=metric, reason=reason, line=line)


def check_metric(metric: str) -> str:
    """Return the name of a metric.

    Raises:
        UsageError: There is no such name.
    """
    if metric not in MEASURED:
        close = nearest(metric, MEASURED)
        hint = f"Did you mean {close!r}?" if close else f"Known are step_median_seconds, {', '.join(EXACT)}, ..."
        raise UsageError(f"no metric named {metric!r}. {hint}")
    return metric


def is_named(pattern: str, *, key: str, name: str) -> bool:
    """Whether a pattern means a cell: its key, its name, the beginning of its name up to a slash, or a glob."""
    return pattern in (key, name) or name.startswith(f"{pattern}/") or fnmatch.fnmatchcase(name, pattern)


def marks(
    accepted: Iterable[AcceptedChange],
    commits: Sequence[str | None],
    *,
    key: str,
    name: str,
    metric: str,
    descendants: Descendants | None = None,
) -> tuple[AcceptedMark, ...]:
    """Find where accepted changes of a cell and metric stand in a series, by the commits of its points, oldest first.

    `descendants` are asked for only where the commit itself was never measured.
    """
    found = []
    for change in accepted:
        if change.metric not in ("*", metric) or not is_named(change.cell, key=key, name=name):
            continue
        index = next((i for i, commit in enumerate(commits) if commit and commit.startswith(change.commit)), None)
        if index is None and descendants is not None:
            later = descendants(change.commit)
            index = next((i for i, commit in enumerate(commits) if commit in later), None)
        if index is not None:
            found.append(AcceptedMark(index=index, commit=change.commit, reason=change.reason))
    return tuple(sorted(found, key=lambda mark: mark.index))


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
