"""Watch processes from outside."""

import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIGHT = "from bench.runner import processes; processes._preloaded[:] = ['tests.runner.faults']; "
"""Begins a script whose server imports no torch: it starts in a moment."""


def wait_for(condition, seconds=120, pause=0.02):
    """Wait until something is true, and return it; events that come on their own need no exact time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(pause)
    raise AssertionError("it did not happen in time")


def is_gone(pid):
    """Whether a process has ended; one that nobody has reaped yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
