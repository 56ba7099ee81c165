"""Tests against a real Slurm. Without its programs they are skipped, but in CI they fail."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster, missing_programs, running_cluster


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "slurm: runs against a real Slurm on loopback; Debian: slurmctld slurmd slurm-client"
    )
    config.addinivalue_line("markers", "late: runs after all other tests, because it waits for something they need not")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("late") is not None)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    missing = missing_programs()
    if missing:
        words = (
            f"Slurm is not installed (no {', '.join(missing)}); Debian: apt-get install slurmctld slurmd slurm-client"
        )
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(words)
        pytest.skip(words)
    patch = pytest.MonkeyPatch()
    with running_cluster(tmp_path_factory.mktemp("slurm")) as cluster, patch.context() as environment:
        environment.setenv("SLURM_CONF", str(cluster.config))
        yield cluster
