"""Shared by all tests: torch's global state stays as it was, `gpu` tests skip without CUDA."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# No test depends on how fast this machine is.
hypothesis.settings.register_profile("here", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("here")

# Two workers of pytest-xdist on two cores: OpenMP threads that spin while they wait cost half of all CPU seconds.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "0")

# Torch and 6,000 tests are a million objects, and every timed block begins with a whole collection: 0.2 s each.
gc.disable()

SERVERS = {"chromium", "postgres"}
SLOW_SECONDS = 600  # another test has one of two cores: what takes a minute alone may take several
_NUMBERS = itertools.count()


def pytest_configure() -> None:
    """Hear Ctrl-C, and let a pytest that a test starts be no part of this one's pytest-xdist.

    Hear Ctrl-C again: a shell that starts this in the background ignores it, and every process below would too.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
        del os.environ[name]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out all tests when only benchmarks were asked for, or pytest-benchmark would show each as skipped."""
    return True if config.getoption("benchmark_only", False) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _needs_a_server(item):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    items[:] = questions_first(items)
    if gpu:
        import torch

        is_there = torch.cuda.is_available()
        for item in gpu:
            # What libraries warn of on a GPU nobody here has seen; as errors it would hide the answers.
            item.add_marker(pytest.mark.filterwarnings("default"))
            if not is_there:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def questions_first(items: list[Any]) -> list[Any]:
    """Put the questions to a GPU before tests that use it in this process, whose context NVML then lists for good."""
    return sorted(items, key=lambda item: not item.nodeid.startswith("tests/gpu/"))


def pytest_collection_finish() -> None:
    """Take what was imported and collected out of sight of the collector of garbage."""
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    gc.unfreeze()  # or libraries report at the exit that their objects leak


def _needs_a_server(item: pytest.Item) -> bool:
    """Tell what runs against Slurm, PostgreSQL or Chromium: a mark nobody can forget."""
    fixtures = set(getattr(item, "fixturenames", ()))
    callspec = getattr(item, "callspec", None)
    is_postgres = callspec is not None and callspec.params.get("url") == "postgresql"
    return is_postgres or bool(fixtures & SERVERS) or item.get_closest_marker("slurm") is not None


def torch_state() -> dict[str, Any] | None:
    """Read torch's global switches; None while torch is not imported, which this must not change."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "backends"):
        return None
    return {
        "default_dtype": torch.get_default_dtype(),
        "default_device": torch.get_default_device(),
        "num_threads": torch.get_num_threads(),
        "grad_enabled": torch.is_grad_enabled(),
        "inference_mode": torch.is_inference_mode_enabled(),
        "autocast_cpu": torch.is_autocast_enabled("cpu"),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "cudnn.deterministic": torch.backends.cudnn.deterministic,
        "cuda.matmul.fp32_precision": torch.backends.cuda.matmul.fp32_precision,
        "cudnn.conv.fp32_precision": torch.backends.cudnn.conv.fp32_precision,
        "cudnn.rnn.fp32_precision": torch.backends.cudnn.rnn.fp32_precision,
        "mkldnn.matmul.fp32_precision": torch.backends.mkldnn.matmul.fp32_precision,
        "mkldnn.conv.fp32_precision": torch.backends.mkldnn.conv.fp32_precision,
        "mkldnn.rnn.fp32_precision": torch.backends.mkldnn.rnn.fp32_precision,
    }


@pytest.fixture(autouse=True)
def _torch_state_is_restored() -> Iterator[None]:
    before = torch_state()
    yield
    after = torch_state()
    if before is not None and after is not None:
        changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
        assert not changed, f"global torch state was changed (before, after): {changed}"


@pytest.fixture(autouse=True)
def _no_kept_counts(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let no test find what another one, or the user, has counted; the folder is made by what keeps something."""
    monkeypatch.setenv("STEPBENCH_CACHE", str(tmp_path_factory.getbasetemp() / f"cache-{next(_NUMBERS)}"))


@pytest.fixture(autouse=True)
def _no_command_says_that_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what a command says on stderr be the same on a busy machine."""
    monkeypatch.setattr("bench.cli.progress._PATIENCE_SECONDS", 3600.0)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Start the system's Chromium, once per process: Playwright bears no second one. Where none is, CI fails."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium: CI installs Debian's package chromium (.ci/run)")
        pytest.skip("needs a Chromium (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()
