"""A git repository of two commits for the tests of worktrees, sides and `bench ab`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ISOLATED = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
IDENTITY = ("-c", "user.name=tester", "-c", "user.email=tester@example.invalid", "-c", "init.defaultBranch=main")


def run_git(folder: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | ISOLATED
    command = ["git", "-C", str(folder), *IDENTITY, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


def make_repository(folder: Path, *commits: dict[str, str]) -> Path:
    """Commit the given files, one commit after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    run_git(folder, "init", "--quiet")
    for index, files in enumerate(commits):
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        run_git(folder, "add", "--all")
        run_git(folder, "commit", "--quiet", "--message", f"commit {index}")
    return folder


def worktrees_of(repository: Path) -> list[str]:
    lines = run_git(repository, "worktree", "list", "--porcelain").splitlines()
    return [line.removeprefix("worktree ") for line in lines if line.startswith("worktree ")]
