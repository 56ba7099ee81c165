"""Check out commits beside the user's checkout, and leave nothing behind, however the run ends.

    with checkouts(repository, ("origin/main", "HEAD")) as folders: ...

Each commit becomes a git worktree below one temporary folder. The folder holds a lock file that this process keeps
locked for its whole life: the kernel releases the lock also after SIGKILL, so the next start can tell a dead run's
worktrees from those of a run beside it, and removes the dead ones. Another host that shares the repository (a cluster)
has folders that are not here; the name of the host in theirs keeps us from taking them for dead. The user's checkout,
index and branches are never touched, no hook is run, and no inherited variable tells git where its repository is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.core.errors import BenchError, NothingMeasuredError
from bench.core.git import git

_PREFIX = f"stepbench-ab-{re.sub('[^A-Za-z0-9]', '', socket.gethostname())[:32]}-"
_LOCK = "owner.lock"


def repository_of(folder: Path) -> Path | None:
    """Return the top folder of the repository that holds a folder; None outside one, or without git."""
    try:
        return Path(git(folder, "rev-parse", "--show-toplevel"))
    except BenchError:
        return None


def find_commit(repository: Path, revision: str) -> str | None:
    """Return the full name of a commit; None if the revision names none."""
    try:
        return git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except BenchError:
        return None


def need_commit(repository: Path, revision: str, *, side: str) -> str:
    """Return the full name of a commit.

    Raises:
        NothingMeasuredError: There is none; in CI usually because the checkout is shallow.
    """
    commit = find_commit(repository, revision)
    if commit is None:
        is_shallow = git(repository, "rev-parse", "--is-shallow-repository") == "true"
        hint = "fetch it: this checkout is shallow" if is_shallow else "fetch it, or name a folder"
        raise NothingMeasuredError(f"{side} {revision!r} is no commit of {repository} and no folder; {hint}")
    return commit


@contextlib.contextmanager
def checkouts(repository: Path, commits: Sequence[tuple[str, str]]) -> Iterator[dict[str, Path]]:
    """Check commits out below a temporary folder, and remove all of it on leaving.

    Args:
        repository: Any folder of the repository.
        commits: Name of the folder and commit; names of equal length keep paths, and so memory layouts, alike.

    Raises:
        BenchError: git cannot check a commit out.
    """
    remove_stale(repository)
    root = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
    lock = os.open(root / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    folders = {name: root / name for name, _ in commits}
    try:
        for name, commit in commits:
            with uninterrupted():  # git locks a worktree while it makes it; killed then, it would stay
                git(repository, "worktree", "add", "--quiet", "--detach", "--force", str(folders[name]), commit)
        yield folders
    finally:
        with uninterrupted():
            _remove(repository, root)
            os.close(lock)


def remove_stale(repository: Path) -> int:
    """Remove worktrees of runs that are dead; return how many runs that were."""
    roots = dict.fromkeys(path.parent for path in _worktrees(repository) if path.parent.name.startswith(_PREFIX))
    stale = [root for root in roots if not _is_owned(root)]
    for root in stale:
        with uninterrupted():
            _remove(repository, root)
    return len(stale)


def _is_owned(root: Path) -> bool:
    """Whether the process that made a folder is alive: then its lock cannot be had."""
    try:
        lock = os.open(root / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:  # another user's
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _worktrees(repository: Path) -> list[Path]:
    lines = git(repository, "worktree", "list", "--porcelain").splitlines()
    return [Path(line.removeprefix("worktree ")) for line in lines if line.startswith("worktree ")]


def _remove(repository: Path, root: Path) -> None:
    """Remove our worktrees, by name and not by `git worktree prune`, which would forget other hosts' too."""
    with contextlib.suppress(BenchError):  # the repository itself may be gone
        for path in _worktrees(repository):
            if path.parent == root:
                with contextlib.suppress(BenchError):  # forced twice: one whose making was killed is locked
                    git(repository, "worktree", "remove", "--force", "--force", str(path))
    shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back while something is cleaned up; a second one must not leave half of it."""
    held = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
