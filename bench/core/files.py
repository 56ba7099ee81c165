"""Read a file that somebody else may have written: a regular one, of a sane size, texts with or without a mark.

Run git, in the one way that surprises nobody: no hook, no inherited variable, no Ctrl-C half-way.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from bench.core.errors import BenchError

LARGEST_BYTES = 2**28
"""More is no file of stepbench: a run of 10,000 cells holds files of kilobytes."""


def read_file(path: Path, largest: int = LARGEST_BYTES) -> bytes:
    """Read a regular file whole. A pipe, a device or a socket would be waited for, or never end.

    Raises:
        OSError: It cannot be read, is no regular file, or is larger than `largest`.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        data = file.read(largest + 1)
    if len(data) > largest:
        raise OSError(errno.EFBIG, f"it is larger than {largest:,} bytes", str(path))
    return data


def read_text_file(path: Path, largest: int = LARGEST_BYTES) -> str:
    """Read a text that a person wrote: UTF-8, with or without a byte order mark, whatever ends its lines.

    Raises:
        OSError: See `read_file`.
        UnicodeDecodeError: It is not UTF-8.
    """
    return read_file(path, largest).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file that a person wrote.

    Raises:
        OSError: See `read_file`.
        ValueError: It is no TOML in UTF-8; the message is one line and does not name the file.
    """
    try:
        return tomllib.loads(read_text_file(path))
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text (byte {error.start})") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except ValueError:  # Python's own refusal of very many digits, which tells how to lift it
        raise ValueError("it holds a number of thousands of digits, or a date that is none") from None


def git(folder: Path, *arguments: str, timeout_seconds: float | None = None) -> str:
    """Run git in a folder and return what it printed, without the last line break.

    Raises:
        BenchError: git is not installed, took too long, or failed; with the last line of what it said.
    """
    command = ["git", "-C", str(folder), "-c", "core.hooksPath=/dev/null", *arguments]
    # GIT_DIR and its kin are set inside hooks and would lead every command to the user's own checkout.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        # Its own process group, so that Ctrl-C does not kill it half-way through a checkout or a removal.
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, process_group=0, timeout=timeout_seconds
        )
    except OSError as error:
        raise BenchError(f"git cannot be run ({error.strerror}); install it, or compare two folders") from error
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"git {arguments[0]} took longer than {timeout_seconds:g} s in {folder}") from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise BenchError(f"git {arguments[0]} failed: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout.rstrip("\n")
