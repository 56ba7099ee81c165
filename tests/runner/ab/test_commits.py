"""Which commits of a real repository are suspects."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.errors import BenchError, NothingMeasuredError, UsageError
from bench.runner.ab.commits import list_history
from tests.runner.git_repository import make_repository, run_git


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make commits 0 to 4 in line (2 touches docs and tests only), then a merged branch of two commits."""
    folder = make_repository(
        tmp_path_factory.mktemp("history") / "project",
        {"net.py": "0"},
        {"net.py": "1"},
        {"docs/a.txt": "2", "deep/tests/test_net.py": "2", "notes.md": "2"},
        {"other.py": "3"},
        {"net.py": "4"},
    )
    run_git(folder, "checkout", "--quiet", "-b", "side")
    for name in ("side.py", "more.py"):
        (folder / name).write_text(name)
        run_git(folder, "add", "--all")
        run_git(folder, "commit", "--quiet", "--message", f"add {name}")
    run_git(folder, "checkout", "--quiet", "main")
    run_git(folder, "merge", "--quiet", "--no-ff", "--message", "merge side", "side")
    return folder


@pytest.fixture(autouse=True)
def _inside(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)


def subjects(good: str, bad: str, **options: object) -> list[str]:
    return [commit.subject for commit in list_history(good, bad, **options).commits]  # type: ignore[arg-type]


def test_docs_and_tests_are_no_suspects_a_merge_is_its_branch(repository: Path) -> None:
    found = list_history("main~5", "main")
    assert found.good.subject == "commit 0"
    assert [one.subject for one in found.commits] == ["commit 1", "commit 3", "commit 4", "merge side"]
    assert found.holds.tolist() == [[row >= column for column in range(4)] for row in range(4)]
    assert found.parents[1] == run_git(repository, "rev-parse", "main~3"), "the parent is the commit of docs"


def test_paths_choose_the_suspects() -> None:
    assert subjects("main~5", "main", paths=["net.py"]) == ["commit 1", "commit 4"]
    assert subjects("main~5", "main", paths=["docs"]) == ["commit 2"]
    assert subjects("main~5", "main", targets=["deep/tests/test_net.py:Net"])[1] == "commit 2", (
        "tests are the code here"
    )


def test_all_parents_names_the_commits_of_a_merged_branch() -> None:
    found = list_history("main~2", "main", has_all_parents=True)
    names = [one.subject for one in found.commits]
    assert set(names) >= {"commit 4", "add side.py", "add more.py"}
    side, more = names.index("add side.py"), names.index("add more.py")
    assert found.holds[more, side]
    assert not found.holds[side, more]


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ("", "main", "good is empty"),
        ("main", " ", "bad is empty"),
        ("main", "main", "the same commit"),
        ("main", "main~3", "good main is newer than bad main~3; write `bench bisect main~3 main`"),
        (".", "main", "is a folder"),
    ],
)
def test_what_is_no_history_is_refused(good: str, bad: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        list_history(good, bad)


def test_ends_on_two_branches_are_told_where_these_part(repository: Path) -> None:
    other = run_git(repository, "commit-tree", "main^{tree}", "-p", "main~2", "-m", "elsewhere")
    with pytest.raises(UsageError, match=r"no ancestor of bad main; name an ancestor, .* `git merge-base "):
        list_history(other, "main")


def test_a_range_without_code_is_refused() -> None:
    with pytest.raises(UsageError, match=r"none of 1 commit between main~4 and main~3 touches code .* see --paths"):
        list_history("main~4", "main~3")
    with pytest.raises(NothingMeasuredError, match="good 'v9' is no commit"):
        list_history("v9", "main")


def test_a_shallow_clone_says_that_commits_are_missing(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_git(tmp_path, "clone", "--quiet", "--depth", "2", "--no-single-branch", f"file://{repository}", "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    good = run_git(repository, "rev-parse", "main~5")
    with pytest.raises(BenchError, match="fetch it: this checkout is shallow"):
        list_history(good, "HEAD")
    (tmp_path / "bare").mkdir()
    monkeypatch.chdir(tmp_path / "bare")
    with pytest.raises(NothingMeasuredError, match="in no git repository"):
        list_history("HEAD~1", "HEAD")
