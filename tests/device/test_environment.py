"""The environment is this machine's, read twice it is the same; soft state is arithmetic on two readings."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.core.environment import Environment
from bench.core.jsonio import from_json, to_json
from bench.device import environment as module
from bench.device import nvml
from bench.device.cpu import Reading, read_counters
from bench.device.environment import read_environment, state_between
from bench.device.readings import Glance


def test_it_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read_environment()
    assert found.torch == torch.__version__
    assert found.python == platform.python_version()
    assert found.threads == torch.get_num_threads()
    assert found.cores == len(os.sched_getaffinity(0))
    kib = int(Path("/proc/meminfo").read_text().split()[1])
    assert found.memory_bytes == pytest.approx(kib * 1024, rel=0.01)
    assert found.cpu
    assert found.gpu is None
    assert from_json(Environment, to_json(found)) == found


def test_the_fingerprint_is_the_same_when_read_again() -> None:
    assert read_environment().fingerprint == read_environment().fingerprint


def test_malloc_settings_are_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)
    before = read_environment()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
    after = read_environment()
    added = set(after.malloc) - set(before.malloc)
    assert added == {("MALLOC_TRIM_THRESHOLD_", "1"), ("GLIBC_TUNABLES", "glibc.malloc.check=0")}
    assert list(after.malloc) == sorted(after.malloc)
    assert after.fingerprint != before.fingerprint


def test_flags_are_part_of_it() -> None:
    before = read_environment()
    was_enabled = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = not was_enabled
    try:
        after = read_environment()
    finally:
        torch.backends.cudnn.benchmark = was_enabled
    assert dict(after.flags)["cudnn.benchmark"] == str(not was_enabled)
    assert after.fingerprint != before.fingerprint


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_of_the_working_directory_and_whether_it_is_dirty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert (read_environment().git_commit, read_environment().git_dirty) == (None, None)
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "a")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "untracked").write_text("results are not dirt")
    assert (read_environment().git_commit, read_environment().git_dirty) == (commit, False)
    (tmp_path / "a").write_text("2")
    assert (read_environment().git_commit, read_environment().git_dirty) == (commit, True)


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_environment().git_commit is None


BEFORE = Reading(busy_seconds=10.0, steal_seconds=0.1, total_seconds=50.0, own_seconds=1.0, involuntary_switches=3)


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "cpu_count", lambda: 4)


def test_other_busy_cores_are_what_we_did_not_use_ourselves(four_cores: None) -> None:
    # One second on four cores is 4 s: 2.5 s busy, 1 s of them our own, so others kept 1.5 cores busy.
    after = replace(
        BEFORE, busy_seconds=12.5, total_seconds=54.0, own_seconds=2.0, steal_seconds=0.3, involuntary_switches=8
    )
    state = state_between(BEFORE, after)
    assert state.other_busy_cores == pytest.approx(1.5)
    assert state.steal_fraction == pytest.approx(0.2 / 4)
    assert state.involuntary_switches == 5
    assert state.gpu_clock_mhz is None


def test_readings_too_close_together_say_nothing_of_the_load(four_cores: None) -> None:
    state = state_between(BEFORE, replace(BEFORE, busy_seconds=10.2, total_seconds=50.39))
    assert state.other_busy_cores is None
    assert state.steal_fraction is None
    assert state.load_1m is not None


def test_our_own_ticks_beyond_the_kernels_are_not_negative_load(four_cores: None) -> None:
    after = replace(BEFORE, busy_seconds=11.0, total_seconds=54.0, own_seconds=2.05)
    assert state_between(BEFORE, after).other_busy_cores == 0.0


def test_what_was_not_seen_of_a_working_gpu_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who shares the GPU is asked afterwards; its clock, its power and what lowered them are then an idle one's."""
    gpu = nvml.GpuState(
        clock_mhz=900.0,
        temperature_celsius=80.0,
        throttle_reasons=("thermal",),
        other_processes=2,
        own_memory_bytes=1,
        power_watts=70.0,
    )
    asked = []
    monkeypatch.setattr(nvml, "read_state", lambda uuid, **_: asked.append(uuid) or gpu)
    state = state_between(BEFORE, BEFORE, "cuda:0", "the-gpu")
    assert asked == ["the-gpu"]
    assert (state.gpu_temperature_celsius, state.gpu_other_processes) == (80.0, 2)
    assert (state.gpu_clock_mhz, state.gpu_power_watts) == (None, None)
    assert (state.gpu_throttle_reasons, state.gpu_throttled) == (None, None)
    seen = state_between(BEFORE, BEFORE, "cuda:0", "the-gpu", [Glance(clock_mhz=1980.0, throttle_reasons=())])
    assert (seen.gpu_clock_mhz, seen.gpu_throttle_reasons, seen.gpu_throttled) == (1980.0, (), ())


def test_the_kernels_counters_grow() -> None:
    first = read_counters()
    sum(range(3_000_000))
    second = read_counters()
    assert second.own_seconds > first.own_seconds
    assert second.total_seconds >= first.total_seconds >= first.busy_seconds


def test_an_environment_is_read_by_a_process_without_torch() -> None:
    assert type(read_environment("cpu").torch) is str  # torch's TorchVersion would have the parent import torch


@pytest.mark.gpu
def test_a_gpu_stands_in_the_environment() -> None:
    found = read_environment("cuda:0")
    assert found.gpu == torch.cuda.get_device_name(0)
    assert found.driver
    assert found.gpu_uuid
    assert nvml.read_state(found.gpu_uuid) is not None


def fingerprint_with(**variables: str) -> tuple[str, dict[str, object]]:
    """Read the environment in a fresh interpreter: torch looks at these variables once."""
    code = "import json; from bench.device.environment import read_environment as r; e = r(); "
    code += "print(json.dumps([e.fingerprint, e.comparable_fields()]))"
    names = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")
    environment = {name: value for name, value in os.environ.items() if name not in names} | variables
    child = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    fingerprint, fields = json.loads(child.stdout)
    return fingerprint, fields


@pytest.mark.slow
def test_another_instruction_set_is_another_fingerprint() -> None:
    usual, fields = fingerprint_with()
    less, limited = fingerprint_with(ONEDNN_MAX_CPU_ISA="SSE41", ATEN_CPU_CAPABILITY="default")
    assert usual != less
    assert fields["instruction_set"] == torch.backends.cpu.get_cpu_capability()
    assert limited["instruction_set"] == "DEFAULT, oneDNN at most SSE41"
    assert fields["variables"] != limited["variables"]


CHOOSING = (
    "MKL_CBWR",
    "KMP_BLOCKTIME",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_DEVICE_MAX_CONNECTIONS",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "NCCL_ALGO",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_CUBLAS_WORKSPACE_CACHE",
    "TORCH_CUBLASLT_UNIFIED_WORKSPACE",
)


def test_variables_that_choose_kernels_are_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a GPU each of them decides a speed, or what fp32 means (B9)."""
    for name in CHOOSING:
        monkeypatch.delenv(name, raising=False)
    before = read_environment()
    for name in (*CHOOSING, "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    after = read_environment()
    assert {name for name, _ in set(after.variables) - set(before.variables)} == set(CHOOSING)
    assert after.fingerprint != before.fingerprint
