from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.core.errors import BenchError, NothingMeasuredError, UsageError
from bench.runner.ab import worktrees
from bench.runner.ab.sides import open_sides, remarks, uncommitted_files
from bench.runner.ab.worktrees import checkouts, find_commit, need_commit, remove_stale, repository_of
from tests.runner.git_repository import make_repository, run_git, worktrees_of


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.delenv("STEPBENCH_MODELS", raising=False)
    folder = make_repository(tmp_path / "project", {"net.py": "one\n", "sub/x.py": ""}, {"net.py": "two\n"})
    yield folder
    assert list(temporary.iterdir()) == []
    assert worktrees_of(folder) == [str(folder)]


def test_two_commits_lie_beside_each_other_under_names_of_equal_length(repository: Path) -> None:
    commits = [(name, need_commit(repository, rev, side=name)) for name, rev in (("base", "HEAD~1"), ("head", "HEAD"))]
    with checkouts(repository, commits) as folders:
        assert (folders["base"] / "net.py").read_text() == "one\n"
        assert (folders["head"] / "net.py").read_text() == "two\n"
        assert len(str(folders["base"])) == len(str(folders["head"]))
        assert not folders["base"].is_relative_to(repository)


def test_the_users_checkout_index_and_branch_stay_as_they_were(repository: Path) -> None:
    (repository / "net.py").write_text("edited\n")
    (repository / "new.py").write_text("untracked\n")
    run_git(repository, "add", "new.py")
    before = run_git(repository, "status", "--porcelain=v2", "--branch")
    with (
        pytest.raises(KeyboardInterrupt),
        open_sides("HEAD~1", "HEAD", cwd=repository),
    ):
        raise KeyboardInterrupt
    assert run_git(repository, "status", "--porcelain=v2", "--branch") == before
    assert (repository / "net.py").read_text() == "edited\n"
    assert uncommitted_files(repository) == 2


def test_hooks_and_inherited_variables_of_git_lead_nowhere(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    hook.chmod(0o755)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    with open_sides("HEAD~1", "HEAD", cwd=repository) as (base, _):
        assert (base.folder / "net.py").read_text() == "one\n"
    assert not (tmp_path / "hooked").exists()


def test_worktrees_of_a_killed_run_are_removed_at_the_next_start(repository: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from bench.runner.ab.worktrees import checkouts\n"
        "with checkouts(Path(sys.argv[1]), [('base', 'HEAD~1')]):\n"
        "    print('ready', flush=True); time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(repository)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert remove_stale(repository) == 0, "it is alive"
        assert len(worktrees_of(repository)) == 2
        process.send_signal(signal.SIGKILL)
    assert len(worktrees_of(repository)) == 2
    assert remove_stale(repository) == 1
    assert worktrees_of(repository) == [str(repository)]


def test_a_half_made_worktree_is_removed_though_git_locked_it(repository: Path) -> None:
    with checkouts(repository, [("base", "HEAD")]) as folders:
        run_git(repository, "worktree", "lock", "--reason", "initializing", str(folders["base"]))
    assert worktrees_of(repository) == [str(repository)]


def test_a_dead_run_without_folder_is_forgotten_on_its_host_only(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "stepbench-ab-otherhost-x" / "base"
    run_git(repository, "worktree", "add", "--quiet", "--detach", str(other), "HEAD")
    gone = tmp_path / "temporary" / f"{worktrees._PREFIX}y"
    run_git(repository, "worktree", "add", "--quiet", "--detach", str(gone / "base"), "HEAD")
    shutil.rmtree(gone)
    shutil.rmtree(other)
    assert remove_stale(repository) == 1
    assert worktrees_of(repository) == [str(repository), str(other)]
    run_git(repository, "worktree", "prune")


def test_a_missing_base_names_what_to_do(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingMeasuredError, match=r"base 'origin/main' is no commit .* fetch it, or name a folder"):
        need_commit(repository, "origin/main", side="base")
    assert find_commit(repository, "--help") is None
    shallow = tmp_path / "shallow"
    run_git(tmp_path, "clone", "--quiet", "--depth=1", repository.as_uri(), str(shallow))
    with pytest.raises(NothingMeasuredError, match="fetch it: this checkout is shallow"):
        need_commit(shallow, "HEAD~1", side="base")


def test_a_folder_is_a_side_as_it_lies_there(repository: Path) -> None:
    (repository / "src").mkdir()
    with open_sides("HEAD", ".", cwd=repository) as (base, head):
        assert head.commit is None
        assert head.folder == repository
        assert head.search_path == (str(repository), str(repository / "src"))
        assert head.foreign is None
        assert base.foreign == repository
        assert worktrees_of(repository)[1:] == [str(base.root)]


def test_a_command_works_in_the_same_subfolder_of_both_sides(repository: Path) -> None:
    with open_sides("HEAD~1", "HEAD", cwd=repository / "sub") as (base, head):
        assert base.folder == base.root / "sub"
        assert head.search_path == (str(head.root / "sub"), str(head.root))


def test_two_folders_need_no_repository(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    with open_sides("old", "new", cwd=tmp_path) as (base, head):
        assert (base.folder, head.folder) == (tmp_path / "old", tmp_path / "new")
    with pytest.raises(NothingMeasuredError, match="in no git repository"), open_sides("old", "HEAD", cwd=tmp_path):
        pass


def test_a_name_that_is_a_folder_and_a_branch_is_refused(repository: Path) -> None:
    run_git(repository, "branch", "sub")
    with pytest.raises(BenchError, match="both a folder and a revision"), open_sides("sub", "HEAD", cwd=repository):
        pass


def test_a_commit_of_stepbench_is_measured_with_its_own_models(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_repository(repository, {"pyproject.toml": '[project]\nname = "stepbench"\n', "models/mlp.py": ""})
    with open_sides("HEAD~1", "HEAD", cwd=repository) as (base, head):
        assert base.models is None
        assert head.models == head.root / "models"
    monkeypatch.setenv("STEPBENCH_MODELS", str(repository / "models"))
    with open_sides("HEAD~1", "HEAD", cwd=repository) as (base, head):
        assert head.models == head.root / "models"


def test_an_interpreter_that_is_none_is_refused(repository: Path) -> None:
    with (
        pytest.raises(NothingMeasuredError, match="is no interpreter"),
        open_sides("HEAD", ".", base_python="nowhere/python", cwd=repository),
    ):
        pass


@pytest.mark.parametrize(("base", "head", "words"), [("", "HEAD", "base is empty"), ("HEAD", " ", "head is empty")])
def test_an_empty_revision_is_refused(repository: Path, base: str, head: str, words: str) -> None:
    with pytest.raises(UsageError, match=words), open_sides(base, head, cwd=repository):
        raise AssertionError


@pytest.mark.parametrize(
    ("base", "head", "words"),
    [
        (".", ".", "the same folder"),
        (".", "sub/..", "the same folder"),
        ("HEAD", "main", "the same commit"),
        ("HEAD", ".", "head . has no uncommitted changes: it is the other side's commit"),
        ("HEAD~1", "HEAD", ""),
        ("HEAD~1", ".", ""),
    ],
)
def test_a_side_that_is_by_accident_the_other_one_is_said(repository: Path, base: str, head: str, words: str) -> None:
    with open_sides(base, head, cwd=repository) as sides:
        said = remarks(*sides, cwd=repository)
    assert [words in one for one in said] == ([True] if words else [])


def test_uncommitted_changes_are_said_whatever_name_the_commit_has(repository: Path) -> None:
    (repository / "net.py").write_text("edited\n")
    for head in ("HEAD", "main"):
        with open_sides("HEAD~1", head, cwd=repository) as sides:
            assert remarks(*sides, cwd=repository) == (
                f"1 file has uncommitted changes, which {head} does not include; write . to include them",
            )
    with open_sides("HEAD", ".", cwd=repository) as sides:
        assert remarks(*sides, cwd=repository) == ()
    run_git(repository, "checkout", "--quiet", "--", "net.py")


def test_a_new_file_that_was_never_added_is_said_because_only_a_folder_has_it(repository: Path) -> None:
    for name in ("helper.py", "notes.txt", "results/run.json", "venv/lib/site-packages/torch/nn.py"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("new\n")
    with open_sides("HEAD~1", "HEAD", cwd=repository) as sides:
        said = remarks(*sides, cwd=repository)
    assert said == ("1 new file is in no commit (helper.py), which HEAD does not include; write . to include it",)
    with open_sides("HEAD", ".", cwd=repository) as sides:
        (said,) = remarks(*sides, cwd=repository)
    assert said == "head . is the other side's commit and 1 new file (helper.py)"
    run_git(repository, "add", "helper.py")
    with open_sides("HEAD", ".", cwd=repository) as sides:
        assert remarks(*sides, cwd=repository) == ()
    (repository / "helper.py").unlink()
    for number in range(5):
        (repository / f"scratch{number}.py").write_text("new\n")
    with open_sides("HEAD~1", "HEAD", cwd=repository / "sub") as sides:
        _, said = remarks(*sides, cwd=repository / "sub")
    names = "scratch0.py, scratch1.py, scratch2.py and 2 more"
    assert said == f"5 new files are in no commit ({names}), which HEAD does not include; write . to include them"


def test_a_submodule_is_empty_in_a_checkout_and_that_is_said(repository: Path, tmp_path: Path) -> None:
    other = make_repository(tmp_path / "other", {"kernels.py": "fast\n"})
    run_git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", other.as_uri(), "libs/other")
    run_git(repository, "commit", "--quiet", "--message", "with a submodule")
    with open_sides("HEAD~1", "HEAD", cwd=repository) as sides:
        said = remarks(*sides, cwd=repository)
    assert said == ("head: submodule libs/other is empty in a checkout of a commit; name a folder that has it",)
    with open_sides("HEAD", "main", cwd=repository) as sides:
        *_, both = remarks(*sides, cwd=repository)
    words = "submodule libs/other is empty in a checkout of a commit; name a folder that has it"
    assert both == f"base and head: {words}"


def test_a_folder_outside_any_repository_is_none() -> None:
    assert repository_of(Path(os.sep)) is None
