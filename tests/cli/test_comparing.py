"""`bench ab` of two models and `bench bisect` by their command lines: exit codes, 80 columns, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bench.cli import run_command
from bench.core.comparison import (
    Bisected,
    BisectVerdict,
    Commit,
    ComparisonReason,
    Ends,
    Likely,
    Shots,
    Step,
    Unmeasured,
)
from bench.core.errors import ExitCode
from bench.runner.ab import bisect_run, ratios, scout
from bench.runner.ab import run as ab_run
from bench.runner.ab.judging import Fate
from bench.runner.ab.run import Compared
from bench.runner.ab.scout import Scouted
from bench.runner.ab.sides import Side
from bench.store.runs import RunFolder
from tests.records import ENVIRONMENT
from tests.runner.ab.test_bisect import FakeMeasurer
from tests.runner.git_repository import make_repository, run_git
from tests.tables.test_comparison import SLOWER, comparison

LONG = "package.module:callable@width=1024"
COMMITS = tuple(Commit(name=f"{n}f" * 20, subject="Merge pull request #12 from somebody/" + "x" * 40) for n in range(4))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(scout, "wait_for_quiet", lambda *_: None)


def narrow(text: str) -> bool:
    return all(len(line) <= 80 for line in text.splitlines() if not line.startswith("Results: "))


@pytest.mark.parametrize(
    ("verdict", "options", "code"),
    [
        ("slower", (), ExitCode.FINE),
        ("slower", ("--strict",), ExitCode.FINE),
        ("slower", ("--fail-if", "slower"), ExitCode.REGRESSION),
        ("faster", ("--fail-if", "slower"), ExitCode.FINE),
        ("same", ("--fail-if", "slower", "--strict"), ExitCode.FINE),
        ("inconclusive", ("--fail-if", "slower"), ExitCode.FINE),
        ("inconclusive", ("--strict",), ExitCode.INCONCLUSIVE),
        ("unfit", ("--fail-if", "slower"), ExitCode.UNFIT),
    ],
)
def test_whoever_is_slower_of_two_models_fails_only_if_asked(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    verdict: str,
    options: tuple[str, ...],
    code: int,
) -> None:
    found = comparison("b : a", "slower" if verdict == "unfit" else verdict, ComparisonReason.CANNOT_DETECT)

    def compare(a: Any, b: Any, *_: Any) -> Compared:
        base, head = (Side(name=n, given=c.id, folder=tmp_path, root=tmp_path) for n, c in (("base", a), ("head", b)))
        return Compared(
            folder=tmp_path,
            base=base,
            head=head,
            comparisons=(replace(found, cell_id=f"{b.id} : {a.id}"),),
            sessions=(),
            environment=ENVIRONMENT,
            differing=(),
            unfit="other work keeps 2.0 cores busy" if verdict == "unfit" else None,
            is_cut_short=False,
            seed=5,
            seconds=63.0,
            per="example",
        )

    monkeypatch.setattr(ratios, "compare_cells", compare)
    arguments = ["ab", "--model-a", "mlp", "--model-b", "mlp@width=1024", "--set-b", "batch-size=16", *options]
    assert run_command(arguments) == code
    out = capsys.readouterr().out
    assert "takes 1.100 times as long as mlp/train/b8/cpu/fp32 (1.080 to 1.120)" in " ".join(out.split())
    assert "per example" in out, "the batch sizes differ"
    assert "egression" not in out and "base" not in out, "two cells are A and B"
    assert narrow(out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ab", "HEAD", "--model-a", "mlp", "--set-b", "threads=1"), "leave out revisions and --base-python"),
        (("ab", "--set-b", "threads=1"), "--model-b and --set-b need --model-a"),
        (("ab", "HEAD", "HEAD", "mlp", "--fail-if", "slower"), "--fail-if belongs to --model-a"),
        (("ab", "", "HEAD", "mlp"), "base is empty; name a revision or a folder"),
        (("ab", ".", "", "mlp"), "head is empty"),
        (("ab", ".", ".", "mlp", "--base-python", ""), "--base-python is empty; write for example"),
        (("bisect", "HEAD~1", "HEAD", "mlp", "--tolerate", ""), "--tolerate must be a share, found ''"),
        (("bisect", "--resume", "latest", "--tolerate", ""), "their options, --tolerate from the run"),
        (("ab", ".", ".", "two.toml"), "m/train/b8/cpu/fp32/w2 is of 2 processes, and one is compared"),
        (("bisect", "HEAD"), "name GOOD and BAD"),
        (("bisect", "", "HEAD", "mlp"), "in no git repository"),
        (("bisect", "--resume", "latest", "--fail-at", "5%"), "their options, --fail-at from the run; leave them out"),
        (("bisect", "--resume", "latest", "--paths", "net.py", "--no-void"), "options, --paths, --no-void from"),
        (("bisect", "--resume", "latest", "-b", "4"), "models and their options from the run; leave them out"),
        (("bisect", "--resume", "latest"), "no run"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    Path("two.toml").write_text('[[sweep]]\nmodel = "m"\nworld_size = 2\n')
    code = run_command(list(arguments))
    err = capsys.readouterr().err
    assert code == (ExitCode.NOTHING if "git repository" in words else ExitCode.USAGE)
    assert words in err
    assert err.count("\n") == 1


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A repository whose head needs a submodule, which no checkout of a commit has; and an edit in no commit."""
    library = make_repository(tmp_path / "library", {"kernels.py": ""})
    repository = make_repository(tmp_path / "project", {"net.py": "1\n"}, {"net.py": "2\n"})
    run_git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library.as_uri(), "libs")
    run_git(repository, "commit", "--quiet", "--message", "with a submodule")
    (repository / "net.py").write_text("3\n")

    def look(base: Side, head: Side, cells: tuple[Any, ...], *_: object) -> Scouted:
        assert not any((head.folder / "libs").iterdir()), "what the model cannot import"
        fate = Fate(side="head", reason="ModuleNotFoundError: No module named 'libs.kernels'")
        environments = {side.name: {"cpu": ENVIRONMENT} for side in (base, head)}
        return Scouted(cells=cells, environments=environments, fates={one.key: fate for one in cells}, work={})

    monkeypatch.setattr(ab_run, "scout", look)
    monkeypatch.chdir(repository)
    return repository


MODEL = ("net.py:Net", "--input-shape", "8", "--results", "../results", "-q")


def test_a_head_that_cannot_be_measured_for_want_of_a_submodule_says_so(
    lacking: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["ab", "HEAD~1", "HEAD", *MODEL]) == ExitCode.NOTHING
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "nothing to compare, head: ModuleNotFoundError: No module named 'libs.kernels'" in err
    assert "1 file has uncommitted changes, which HEAD does not include; write . to include them" in err
    assert "head: submodule libs is empty in a checkout of a commit; name a folder that has it" in err


def test_a_level_that_can_never_be_reached_is_refused_before_there_is_a_run(
    lacking: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def look(base: Side, head: Side, cells: tuple[Any, ...], *_: object) -> Scouted:
        environments = {side.name: {"cpu": ENVIRONMENT} for side in (base, head)}
        return Scouted(cells=cells, environments=environments, fates={}, work={})

    monkeypatch.setattr(ab_run, "scout", look)
    assert run_command(["ab", "HEAD~1", "HEAD", *MODEL, "--alpha", "1e-9"]) == ExitCode.USAGE
    assert "can never show a slowdown at this level; take a larger --alpha" in capsys.readouterr().err
    assert not (lacking.parent / "results").exists()


def test_a_bad_end_that_cannot_be_measured_is_exit_code_4_and_says_why(
    lacking: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["bisect", "HEAD~1", "HEAD", *MODEL]) == ExitCode.UNFIT
    out = " ".join(capsys.readouterr().out.split())
    assert "the bad end cannot be measured: ModuleNotFoundError: No module named 'libs.kernels'" in out
    assert "head: submodule libs is empty in a checkout of a commit" in out
    head = run_git(lacking, "rev-parse", "HEAD")
    assert f"1 file has uncommitted changes, which {head[:9]} does not include" in out
    assert "folder" not in out and "write ." not in out, "a bisection takes commits only"


@pytest.mark.parametrize("command", ["ab", "bisect"])
def test_a_shallow_clone_is_told_to_fetch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    whole = make_repository(tmp_path / "whole", {"net.py": "1\n"}, {"net.py": "2\n"})
    run_git(tmp_path, "clone", "--quiet", "--depth=1", whole.as_uri(), "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    assert run_command([command, "HEAD~1", "HEAD", *MODEL]) == ExitCode.NOTHING
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"{'base' if command == 'ab' else 'good'} 'HEAD~1' is no commit of" in err
    assert "fetch it: this checkout is shallow" in err


def bisected(verdict: BisectVerdict) -> Bisected:
    slower = replace(SLOWER, cell_id=f"{LONG}/train/b8/cpu/fp32")
    return Bisected(
        good=COMMITS[0],
        bad=COMMITS[3],
        verdict=verdict,
        reason="" if verdict is BisectVerdict.FOUND else "because",
        suspects=3,
        ends=(slower,),
        steps=(Step(commits=COMMITS[1:3], comparison=slower),) if verdict is BisectVerdict.FOUND else (),
        unmeasured=(Unmeasured(commit=COMMITS[1], reason="ImportError: half a commit"),),
        likely=(Likely(cell_id=slower.cell_id, commits=COMMITS[2:], share=0.96),),
        sessions=28,
        seconds=300.0,
    )


@pytest.mark.parametrize(
    ("verdict", "code"), [("found", 1), ("no-step", 0), ("undecided", 3), ("unbuildable", 4), ("unfit", 4)]
)
def test_a_bisection_answers_by_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, verdict: str, code: int
) -> None:
    found = bisected(BisectVerdict(verdict))
    monkeypatch.setattr(bisect_run, "bisect_revisions", lambda *_: (tmp_path, found))
    assert run_command(["bisect", "HEAD~3", "HEAD", "mlp"]) == code
    out = capsys.readouterr().out
    assert narrow(out)
    words = " ".join(out.split())
    if verdict == "found":
        for figure in ("1f1f1f1f", "+10.0", "+8.0..+12.0", "0.004", "Merge", "one of these 2"):
            assert figure in words
    else:
        assert "because" in words
    assert "1f1f1f1f1 cannot be measured: ImportError: half a commit" in words


class Killed(BaseException):
    """As the kernel does it: nothing after it runs, but what was on disk before."""


class Measurer(FakeMeasurer):
    """A `LiveMeasurer` of the commits of a repository; is killed at a session, where that is asked for."""

    commits: ClassVar[tuple[str, ...]] = ()
    dies_after: ClassVar[int | None] = None
    made: ClassVar[list[Measurer]] = []

    def __init__(self, *_: object) -> None:
        super().__init__({"net.py:Net": {5: 0.08}})
        self.made.append(self)

    def __enter__(self) -> Measurer:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def named(self, commit: str) -> str:
        return f"c{self.commits.index(commit)}"

    def compare(self, base: str, head: str, asked: Any) -> Ends:
        return super().compare(self.named(base), self.named(head), asked)

    def session(self, base: str, head: str, ends: Ends, asked: Any) -> Shots:
        if len(self.asked) == self.dies_after:
            raise Killed
        return super().session(self.named(base), self.named(head), ends, asked)


def test_a_bisection_that_is_killed_is_taken_up_by_its_run_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    repository = make_repository(tmp_path / "project", *({"net.py": f"{number}\n"} for number in range(9)))
    monkeypatch.chdir(repository)
    monkeypatch.setattr(bisect_run, "LiveMeasurer", Measurer)
    monkeypatch.setattr(Measurer, "commits", tuple(run_git(repository, "rev-list", "--reverse", "HEAD").split()))
    monkeypatch.setattr(Measurer, "made", [])
    monkeypatch.setattr(Measurer, "dies_after", 4)
    asked = ["net.py:Net", "--input-shape", "8", "--results", "../results", "-q"]
    with pytest.raises(Killed):
        run_command(["bisect", "HEAD~8", "HEAD", *asked])
    folder = RunFolder.open("latest", tmp_path / "results")
    assert len((folder.path / bisect_run.ANSWERS).read_text().splitlines()) == 4
    assert not (folder.path / bisect_run.ANSWER_FILE).exists()
    monkeypatch.setattr(Measurer, "dies_after", None)
    code = run_command(["bisect", "--resume", "latest", "--results", "../results", "-q"])
    assert code == ExitCode.REGRESSION
    first, second = Measurer.made
    assert first.asked[0] == ("compare", "c0", "c8") not in second.asked, "the ends are not compared again"
    assert second.asked[-1] == ("compare", "c4", "c5")
    assert "commit 5" in capsys.readouterr().out
    assert (folder.path / bisect_run.ANSWER_FILE).is_file()
    assert len(RunFolder.open(folder.path).run.resumptions) == 1
