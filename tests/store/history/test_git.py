from __future__ import annotations

import subprocess
from pathlib import Path

from bench.store.history.accepted import descendants, reachable_commits
from tests.runner.git_repository import make_repository, run_git


def test_commits_of_every_branch_are_reachable_and_dropped_ones_are_not(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "a", {"x": "1"}, {"x": "2"}, {"x": "3"})
    first, second, third = reversed(run_git(repository, "rev-list", "HEAD").split())
    run_git(repository, "branch", "kept", second)
    run_git(repository, "reset", "--quiet", "--hard", first)
    assert reachable_commits(repository) == {first, second}
    assert third not in (reachable_commits(repository) or ())


def test_descendants_are_found_by_a_short_hash_on_any_branch(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "a", {"x": "1"}, {"x": "2"}, {"x": "3"})
    first, second, third = reversed(run_git(repository, "rev-list", "HEAD").split())
    assert descendants(repository, first[:9]) == {second, third}
    assert descendants(repository, third) == frozenset()
    assert descendants(repository, "f" * 9) == frozenset()


def test_outside_of_a_repository_nothing_is_known(tmp_path: Path) -> None:
    assert reachable_commits(tmp_path) is None
    assert descendants(tmp_path, "a" * 9) == frozenset()


def test_a_shallow_clone_counts_as_none(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "a", {"x": "1"}, {"x": "2"})
    clone = ["git", "clone", "--quiet", "--depth", "1", f"file://{repository}", str(tmp_path / "b")]
    subprocess.run(clone, check=True, capture_output=True)
    assert reachable_commits(tmp_path / "b") is None
