"""Run git, in the one way that surprises nobody: no hook, no inherited variable, no Ctrl-C half-way."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bench.core.errors import BenchError

TIMEOUT_SECONDS = 600.0
"""A checkout of a large repository takes minutes; a filter or a server that never answers takes for ever."""


def git(folder: Path, *arguments: str, timeout_seconds: float | None = None) -> str:
    """Run git in a folder and return what it printed, without the last line break.

    Raises:
        BenchError: git is not installed, took too long, or failed; with the last line of what it said.
    """
    command = ["git", "-C", str(folder), "-c", "core.hooksPath=/dev/null", *arguments]
    # GIT_DIR and its kin are set inside hooks and would lead every command to the user's own checkout.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    limit = TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds
    try:
        # Its own process group, so that Ctrl-C does not kill it half-way through a checkout or a removal.
        done = subprocess.run(command, capture_output=True, text=True, env=environment, process_group=0, timeout=limit)
    except OSError as error:
        raise BenchError(f"git cannot be run ({error.strerror}); install it, or compare two folders") from error
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"git {arguments[0]} took longer than {limit:g} s in {folder}") from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise BenchError(f"git {arguments[0]} failed: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout.rstrip("\n")
