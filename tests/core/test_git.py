"""Git is asked in the one way that surprises nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.core import git as git_module
from bench.core.errors import BenchError
from bench.core.git import git


def test_a_git_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that asks a server, say."""
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(git_module, "TIMEOUT_SECONDS", 0.5)
    with pytest.raises(BenchError, match=r"git status took longer than 0\.5 s"):
        git(tmp_path, "status")
