"""Read a file that somebody else may have written: a regular one, of a sane size, texts with or without a mark."""

from __future__ import annotations

import errno
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

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
        data = file.read(min(found.st_size, largest) + 1)  # a buffer of `largest` takes longer than most files
        if len(data) > found.st_size:  # it grows, or its size is not known, as in /proc
            data += file.read(largest + 1 - len(data))
    if len(data) > largest:
        raise OSError(errno.EFBIG, f"it is larger than {largest:,} bytes", str(path))
    return data


def read_text_file(path: Path) -> str:
    """Read a text that a person wrote: UTF-8, with or without a byte order mark, whatever ends its lines.

    Raises:
        OSError: See `read_file`.
        UnicodeDecodeError: It is not UTF-8.
    """
    return read_file(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


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
