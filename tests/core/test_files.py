"""Only regular files of a sane size are read, and a byte order mark is no part of a text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.core.files import read_file, read_text_file


@pytest.mark.timeout(10)
def test_a_pipe_or_a_device_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("pipe", "endless"):
        with pytest.raises(OSError, match="it is no regular file"):
            read_file(tmp_path / name)
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none")


def test_a_file_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert read_file(file, largest=5) == b"12345"
    with pytest.raises(OSError, match="it is larger than 4 bytes"):
        read_file(file, largest=4)


def test_a_text_is_read_as_people_write_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text_file(file) == "a\nb\nc\n"
