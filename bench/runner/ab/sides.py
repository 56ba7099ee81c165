"""The two sides of a comparison: what was typed, and where each side's code, interpreter and models are.

A side is a git revision, which is checked out beside the user's files, or a folder, used as it lies there.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.core.errors import BenchError, NothingMeasuredError, UsageError
from bench.core.git import git
from bench.core.units import counted, listed
from bench.registry.catalog import FOLDER_VARIABLE
from bench.runner.ab.worktrees import checkouts, find_commit, need_commit, repository_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a comparison.

    Attributes:
        name: `base` or `head`.
        given: Text as typed.
        commit: None for a folder.
        folder: Working directory of the side's workers; first on their `sys.path`, its `src/` second.
        root: Top of the side's code; differs from `folder` where the command was given in a subfolder.
        python: Interpreter of the workers.
        models: Folder for STEPBENCH_MODELS; None leaves the variable as it is.
        foreign: Folder whose modules must not be found on this side: the user's own checkout.
    """

    name: str
    given: str
    commit: str | None = None
    folder: Path
    root: Path
    python: str = sys.executable
    models: Path | None = None
    foreign: Path | None = None

    @property
    def search_path(self) -> tuple[str, ...]:
        """Folders to put first on `sys.path`, in order, each once."""
        candidates = (self.folder, self.folder / "src", self.root, self.root / "src")
        return tuple(dict.fromkeys(str(path) for path in candidates if path.is_dir()))

    @property
    def is_searched(self) -> bool:
        """Whether a search among commits named it, where no folder can stand in its place."""
        return self.given == self.commit

    @property
    def shown(self) -> str:
        """Text as typed; a commit's full name is cut."""
        return self.given[:9] if self.is_searched else self.given


@contextlib.contextmanager
def open_sides(
    base: str, head: str, *, base_python: str | None = None, cwd: Path | None = None
) -> Iterator[tuple[Side, Side]]:
    """Make both sides ready, each a revision or a folder, and remove what was checked out on leaving.

    The base may have another interpreter, to compare environments. `cwd` is where the command was given.

    Raises:
        NothingMeasuredError: A side does not exist.
        BenchError: It is ambiguous, or cannot be checked out.
    """
    cwd = (cwd or Path.cwd()).resolve()
    repository = repository_of(cwd)
    given = {"base": base, "head": head}
    commits = {name: _commit(text, name, repository, cwd) for name, text in given.items()}
    pythons = {"base": sys.executable if base_python is None else _interpreter(base_python), "head": sys.executable}
    wanted = [(name, commit) for name, commit in commits.items() if commit is not None]
    with contextlib.ExitStack() as stack:
        folders: dict[str, Path] = {}
        if wanted:
            assert repository is not None  # a commit was found in it
            folders = stack.enter_context(checkouts(repository, wanted))
        sides = []
        for name, text in given.items():
            commit = commits[name]
            if commit is None:
                folder = root = (cwd / text).resolve()
                root = repository_of(folder) or folder
            else:
                assert repository is not None
                root = folders[name]
                folder = root / cwd.relative_to(repository)
                folder = folder if folder.is_dir() else root
            foreign = repository if repository is not None and root != repository else None
            sides.append(
                Side(
                    name=name,
                    given=text,
                    commit=commit,
                    folder=folder,
                    root=root,
                    python=pythons[name],
                    models=_models_folder(root, repository) or (None if base_python is None else _own_models()),
                    foreign=foreign,
                )
            )
        yield sides[0], sides[1]


def remarks(base: Side, head: Side, cwd: Path | None = None) -> tuple[str, ...]:
    """Return what surprises people about two sides, one sentence each."""
    cwd = (cwd or Path.cwd()).resolve()
    found = []
    if base.python == head.python:
        if base.commit is None and head.commit is None and base.folder == head.folder:
            found.append(f"base and head are the same folder, {base.folder}: this compares code with itself")
        elif base.commit is not None and base.commit == head.commit:
            found.append(f"base and head are the same commit, {base.commit[:9]}: this compares code with itself")
    count, new = uncommitted_files(cwd), new_files(cwd)
    here = find_commit(cwd, "HEAD") if repository_of(cwd) else None
    for side in (base, head):
        if None not in (base.commit, head.commit) and side.commit == here:
            if count:
                files = "1 file has" if count == 1 else f"{count} files have"
                found.append(f"{files} uncommitted changes, {_not_in(side, 'them')}")
            if new:
                files = f"{counted(len(new), 'new file')} {'is' if len(new) == 1 else 'are'} in no commit"
                found.append(f"{files} ({listed(new, 3)}), {_not_in(side, 'it' if len(new) == 1 else 'them')}")
            break
    folders = {side.name: side for side in (base, head)}
    if not count and here is not None and {base.commit, head.commit} == {here, None}:
        folder = folders["head" if head.commit is None else "base"]
        if repository_of(folder.folder) == repository_of(cwd):
            alike = "has no uncommitted changes: it is the other side's commit"
            besides = f"is the other side's commit and {counted(len(new), 'new file')} ({listed(new, 3)})"
            found.append(f"{folder.name} {folder.given} {besides if new else alike}")
    empty = {side.name: _empty_submodules(side) for side in (base, head) if side.commit is not None}
    for names in dict.fromkeys(filter(None, empty.values())):
        sides = [name for name, its in empty.items() if its == names]
        advice = "" if folders[sides[0]].is_searched else "; name a folder that has it"
        found.append(f"{' and '.join(sides)}: submodule {names} is empty in a checkout of a commit{advice}")
    return tuple(found)


def _not_in(side: Side, them: str) -> str:
    """Say that a commit lacks something, and what includes it."""
    advice = "" if side.is_searched else f"; write . to include {them}"
    return f"which {side.shown} does not include{advice}"


def _submodules(root: Path) -> list[str]:
    """List the folders of submodules."""
    if not (root / ".gitmodules").is_file():
        return []
    try:
        lines = git(root, "config", "--file", ".gitmodules", "--get-regexp", r"^submodule\..*\.path$").splitlines()
    except BenchError:  # a file that names none
        return []
    return [line.partition(" ")[2] for line in lines]


def _empty_submodules(side: Side) -> str:
    """Name the submodules that a checkout of a commit lacks, three at most."""
    return ", ".join([path for path in _submodules(side.root) if not any((side.root / path).glob("*"))][:3])


def new_files(cwd: Path) -> tuple[str, ...]:
    """List the Python files of a repository that were never added, and are not ignored: only a folder has them."""
    repository = repository_of(cwd)
    if repository is None:
        return ()
    found = git(repository, "ls-files", "--others", "--exclude-standard", "-z", "--", "*.py").split("\0")
    return tuple(name for name in found if name and "site-packages" not in name)


def uncommitted_files(cwd: Path | None = None) -> int:
    """Count files with uncommitted changes: they are not part of a revision, which surprises people."""
    folder = cwd or Path.cwd()
    if repository_of(folder) is None:
        return 0
    return len(git(folder, "status", "--porcelain", "--untracked-files=no").splitlines())


def _commit(text: str, name: str, repository: Path | None, cwd: Path) -> str | None:
    """Return the commit a text names, or None for a folder."""
    if not text.strip():
        raise UsageError(f"{name} is empty; name a revision or a folder, for example origin/main or .")
    is_folder = (cwd / text).is_dir()
    is_path = is_folder and (text in (".", "..") or os.sep in text)
    found = find_commit(repository, text) if repository is not None and not is_path else None
    if is_folder and found:
        raise BenchError(
            f"{name} {text!r} is both a folder and a revision; write './{text}' or the commit {found[:12]}"
        )
    if is_folder:
        return None
    if repository is None:
        raise NothingMeasuredError(f"{name} {text!r} is no folder, and {cwd} is in no git repository; name two folders")
    return found or need_commit(repository, text, side=name)


def _interpreter(given: str) -> str:
    if not given.strip():
        raise UsageError("--base-python is empty; write for example .venv-old/bin/python")
    path = Path(given).expanduser()
    if path.is_dir():
        path = path / "bin" / "python"
    if not os.access(path, os.X_OK):
        raise NothingMeasuredError(f"--base-python {given!r} is no interpreter; write for example .venv-old/bin/python")
    return str(path.absolute())  # not resolved: the link is what tells an interpreter its environment


def _own_models() -> Path | None:
    """Find our reference models: another interpreter may lack the entry points that name them."""
    found = importlib.util.find_spec("bench.models")
    return Path(next(iter(found.submodule_search_locations))) if found and found.submodule_search_locations else None


def _models_folder(root: Path, repository: Path | None) -> Path | None:
    """Find the folder of a side's own reference models, so that a commit is measured with its models, not with ours."""
    given = os.environ.get(FOLDER_VARIABLE)
    if given:
        path = Path(given)
        if repository is not None and path.resolve().is_relative_to(repository):
            return root / path.resolve().relative_to(repository)
        return path.resolve()
    project = root / "pyproject.toml"
    is_stepbench = project.is_file() and 'name = "stepbench"' in project.read_text(encoding="utf-8", errors="replace")
    return root / "models" if is_stepbench and (root / "models").is_dir() else None
