"""The command line where nothing is there that only Linux has: /proc, /sys, affinity, prctl, glibc, the fork server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.core.errors import ExitCode
from tests.cli.stored import store_run

NO_LINUX = Path(__file__).parents[1] / "fakes" / "no_linux"
MODEL = """
import torch
def tiny():
    return torch.nn.Linear(4, 4)
"""
SUITE = """
[[sweep]]
model = "net.py:tiny"
input_shape = [4]
batch_size = [2]
"""
CLAIMS = """
[document]
title = "A page"
model = "mlp"

[[claim]]
id = "weights"
quantity = "parameters"
value = 269_322
"""


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A folder with a model, a suite, a file of claims and a `sysctl` as macOS has it."""
    (tmp_path / "net.py").write_text(MODEL)
    (tmp_path / "suite.toml").write_text(SUITE)
    (tmp_path / "claims.toml").write_text(CLAIMS)
    sysctl = tmp_path / "bin" / "sysctl"
    sysctl.parent.mkdir()
    sysctl.write_text('#!/bin/sh\n[ "$*" = "-n machdep.cpu.brand_string" ] && echo "Apple M9"\n')
    sysctl.chmod(0o755)
    return tmp_path


def python(there: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_"))}
    paths = f"{there / 'bin'}{os.pathsep}{kept['PATH']}"
    environment = kept | {"PYTHONPATH": str(NO_LINUX), "OMP_NUM_THREADS": "1", "PATH": paths} | variables
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=there,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def bench(there: Path, *arguments: str, **variables: str) -> str:
    done = python(there, "-m", "bench", "--traceback", *arguments, **variables)
    assert done.returncode == ExitCode.FINE, done.stderr
    return done.stdout if "json" in arguments else done.stdout + done.stderr


def test_the_fake_takes_away_what_only_linux_has(there: Path) -> None:
    code = """
import ctypes, os, pathlib, multiprocessing
assert not pathlib.Path("/proc/self/status").exists() and not os.access("/proc", os.R_OK)
assert not hasattr(os, "sched_getaffinity") and not hasattr(ctypes.CDLL(None), "prctl")
for use, what in ((open, "/proc/meminfo"), (os.listdir, "/sys"), (multiprocessing.get_context, "forkserver")):
    try:
        use(what)
    except (OSError, ValueError):
        continue
    raise AssertionError(use)
"""
    done = python(there, "-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_every_module_of_the_parent_can_be_imported(there: Path) -> None:
    code = """
import importlib, pkgutil, bench
for module in pkgutil.walk_packages(bench.__path__, "bench."):
    if not module.name.startswith(("bench.__main__", "bench.runner.workers.", "bench.testing", "bench.models")):
        importlib.import_module(module.name)
"""
    done = python(there, "-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command", ["--help", "run --help", "list", "show latest", "show latest --format json", "report latest"]
)
def test_what_measures_nothing_works(there: Path, command: str) -> None:
    store_run(there / "results")
    assert bench(there, *command.split())


def test_psutil_tells_what_it_knows_and_a_chip_has_its_own_name(there: Path) -> None:
    code = """
import json
from bench.device.cpu import available_bytes, cpu_name, read_counters, resident_bytes, untold
print(json.dumps([cpu_name(), read_counters().busy_seconds, available_bytes(), resident_bytes(), untold()]))
"""
    name, busy, free, resident, untold = json.loads(python(there, "-c", code, NO_LINUX_PSUTIL="1").stdout)
    assert name == "Apple M9"
    assert busy > 0
    assert free > 0
    assert resident > 2**20
    assert [line.partition(":")[0] for line in untold] == [
        "which cores this process may use",
        "the memory of a step",
        "what the allocator keeps",
        "what it kills when memory runs out",
    ]
    name, busy, free, resident, more = json.loads(python(there, "-c", code).stdout)
    assert (name, busy, free, resident) == ("Apple M9", None, None, None)
    assert len(more) == 6
    assert set(untold) < set(more)


def test_this_linux_tells_everything() -> None:
    from bench.device.cpu import untold

    assert untold() == ()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_counting_checking_and_gating_give_the_same_figures(there: Path) -> None:
    counted = json.loads(
        python(there, "-m", "bench", "count", "net.py:tiny", "--input-shape", "4", "--format", "json").stdout
    )
    assert counted["records"][0]["counters"]["parameters"] == 20
    assert "1 match" in bench(there, "check", "claims.toml")
    bench(there, "gate", "suite.toml", "--update")
    bench(there, "gate", "suite.toml")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_leaves_out_what_the_system_does_not_tell_and_says_so(there: Path) -> None:
    said = bench(there, "run", "net.py:tiny", "--input-shape", "4", "-b", "2", "--budget", "0.1s")
    assert "this system does not report which cores this process may use, what other processes do" in said
    assert "1 cell: 1 ok" in said
    record = json.loads(bench(there, "show", "latest", "--format", "json"))["records"][0]
    assert record["counters"]["parameters"] == 20
    assert [sample["phase"] for sample in record["samples"]]
    assert record["counters"]["memory"]["step_resident_bytes"] is None
    assert record["state"]["other_busy_cores"] is None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_machine_is_described_by_what_is_known(there: Path) -> None:
    said = bench(there, "machine")
    assert "Machine      Apple M9" in said
    assert "Load         - cores busy" in said
    assert "this system forks none" in bench(there, "machine", "--costs")
    assert said.count("Not told") == 6
