"""`pytest --benchmark-only` in this repository: a benchmark per cell of the default suite; nothing thorough unasked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.runner.session import plan_targets

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_showcase_is_the_default_suite_and_leaves_out_what_is_thorough() -> None:
    command = [sys.executable, "-m", "pytest", "--benchmark-only", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, "benchmarks"], cwd=ROOT, capture_output=True, text=True)
    found = [line for line in done.stdout.splitlines() if "bench_quick.py::" in line]
    cells = plan_targets(["quick"], {}).cells
    expected = [f"benchmarks/bench_quick.py::bench_quick[{cell.id}]" for cell in cells]
    assert len(expected) == 36  # nine models at two batch sizes in two precisions
    assert found == expected, done.stdout + done.stderr
