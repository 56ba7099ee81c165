"""Benchmarks of the harness itself are collected where they are asked for: by `--benchmark-only`, or by name."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out `bench_*.py` unless benchmarks were asked for, or the file was named."""
    if not (collection_path.name.startswith("bench_") and collection_path.suffix == ".py"):
        return None
    if config.getoption("benchmark_only", False):
        return None
    named = {(config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args}
    return None if collection_path.resolve() in named else True
