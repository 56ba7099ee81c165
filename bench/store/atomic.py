"""Write a file whole or not at all, and say in words why it could not be written."""

from __future__ import annotations

import contextlib
import csv
import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.core.errors import StoreError

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space, or {elsewhere}",
    errno.EDQUOT: "the disk quota is used up; free some space, or {elsewhere}",
    errno.EROFS: "the file system is read-only; {elsewhere}",
    errno.EACCES: "permission denied; {elsewhere}, or change its permissions",
    errno.EPERM: "permission denied; {elsewhere}, or change its permissions",
    errno.ENOTDIR: "a part of that path is a file, not a folder; {elsewhere}",
    errno.EEXIST: "a file of that name is in the way; move it, or {elsewhere}",
    errno.EISDIR: "that is a folder; name a file",
    errno.ENAMETOOLONG: "the path is too long for this file system; {elsewhere}",
}


def store_error(verb: str, path: Path, error: OSError, elsewhere: str = "choose another place") -> StoreError:
    """Format an error of the operating system as one line: what was tried, where, and what to do."""
    words = _ADVICE.get(error.errno or 0) or (error.strerror or str(error) or type(error).__name__).lower()
    return StoreError(f"cannot {verb} {path}: {words.replace('{elsewhere}', elsewhere)}")


def make_folder(path: Path, elsewhere: str = "choose another place") -> None:
    """Make a folder and its parents; one that is there already is fine. The error says to go `elsewhere`.

    Raises:
        StoreError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise store_error("make the folder", path, error, elsewhere) from error


def check_folder(path: Path, elsewhere: str = "choose another place") -> None:
    """Refuse a folder that cannot be made or written into, without making it.

    Raises:
        StoreError: A file is in the way, or it is not permitted.
    """
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if not there.is_dir():
        problem = errno.EEXIST if there == path.absolute() else errno.ENOTDIR
    elif not os.access(there, os.W_OK | os.X_OK):
        problem = errno.EACCES
    else:
        return
    raise store_error("make the folder", path, OSError(problem, os.strerror(problem)), elsewhere)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file in one motion: a temporary beside it, fsync, rename, fsync of the folder.

    A reader sees the old file or the new one, never half of it; after an error no temporary stays behind. After
    SIGKILL one can: it is hidden, ends in `.tmp`, and no reader looks at it.

    Raises:
        StoreError: The file cannot be written; what was there before is untouched.
    """
    if not path.name:  # "", "." or "/"
        raise store_error("write", path, IsADirectoryError(errno.EISDIR, "is a directory"))
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        # Not tempfile: its files are private (0600), and results are shared in a team.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:  # also Ctrl-C: clean up, then let it through
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise store_error("write", path, error) from error


def csv_lines(lines: Iterable[list[str]], path: Path) -> Iterator[list[str]]:
    """Yield the lines of a CSV reader; `path` names the file where one cannot be read.

    Raises:
        StoreError: A line is no CSV: a field of very many characters, or a quote that is never closed.
    """
    try:
        yield from lines
    except csv.Error as error:
        raise StoreError(f"{path}: {error}; fix the file, or delete it and make it again") from None


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; file systems that cannot sync a folder are left alone."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
