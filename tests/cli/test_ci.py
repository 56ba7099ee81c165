"""The action's steps, executed in order on a small repository, as a runner of GitHub would.

Counting and checking are real; the comparison, which takes minutes, is made by hand here and live in
`benchmarks/bench_ci.py`. `gh` is a program that keeps comments in a file.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from bench.cli import run_command
from bench.core.comparison import Comparison, ComparisonVerdict
from bench.core.errors import ExitCode
from bench.core.jsonio import to_json
from bench.report.verdict import Compared
from tests.fakes.actions import Rehearsed, rehearse
from tests.report.ci_results import ab_result, comparison
from tests.runner.git_repository import make_repository, run_git

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github" / "actions" / "stepbench" / "action.yml"

NET = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.second(self.first(x))


def net():
    return Net()
"""
SUITE = '[[sweep]]\nmodel = "net.py:net"\ninput_shape = "8"\nbatch_size = 4\n'
CLAIMS = '[document]\ntitle = "a slide"\nmodel = "net.py:net"\n\n[[claim]]\nid = "all"\nquantity = "parameters"\n'
CLAIMS += "input_shape = [8]\nvalue = 108\n"

# Keeps comments in comments.json, and answers the one question that the action asks of the list.
GH = f"""#!{sys.executable}
import json, os, pathlib, sys
arguments = sys.argv[1:]
store = pathlib.Path(os.environ["COMMENT_STORE"])
comments = json.loads(store.read_text())
assert os.environ["GH_TOKEN"] == "secret", "no token"
url = next(a for a in arguments if a.startswith("repos/"))
if "--method" not in arguments:
    assert url == "repos/me/mine/issues/7/comments", url
    assert "startswith($ENV.MARKER)" in arguments[arguments.index("--jq") + 1]
    ours = [c for c in comments if c["type"] == "Bot" and c["body"].startswith(os.environ["MARKER"])]
    print(*(c["id"] for c in ours), sep="\\n")
else:
    field, _, file = arguments[arguments.index("-F") + 1].partition("=@")
    body = pathlib.Path(file).read_text()
    if arguments[arguments.index("--method") + 1] == "POST":
        comments.append({{"id": len(comments) + 1, "type": "Bot", "body": body}})
    else:
        (one,) = [c for c in comments if url == f"repos/me/mine/issues/comments/{{c['id']}}"]
        one["body"] = body
    store.write_text(json.dumps(comments))
"""

# Is `bench`, but for the comparison, whose answer lies ready, and for the report.
BENCH = f"""#!/bin/bash
for word in "$@"; do
    if [ "$word" = ab ]; then mkdir -p "$3"; cp "$READY_COMPARISON" "$3/ab.json"; exit 0; fi
    if [ "$word" = report ]; then echo html > "${{@: -1}}"; exit 0; fi
done
exec {sys.executable} -m bench "$@"
"""


class Place:
    """A repository with counters on record, and what a runner has around it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = make_repository(
            folder / "mine",
            {"net.py": NET, "suite.toml": SUITE, "claims.toml": CLAIMS, ".gitignore": "__pycache__\nresults/2*\n"},
        )
        tools = folder / "tools"
        tools.mkdir()
        for name, text in (("gh", GH), ("bench", BENCH)):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        self.comments = folder / "comments.json"
        stranger = {"id": 1, "type": "User", "body": "<!-- stepbench-ci stepbench -->\nI am not you"}
        self.comments.write_text(json.dumps([stranger]))
        self.environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "COMMENT_STORE": str(self.comments),
            "READY_COMPARISON": str(folder / "ready.json"),
            "OMP_NUM_THREADS": "1",
        }

    def put_ready(self, *comparisons: Comparison, code: ExitCode) -> None:
        answer = ab_result(*comparisons, code=code).answer
        assert isinstance(answer, Compared)
        document = {
            "schema": 1,
            "step": "ab",
            "arguments": ["HEAD^1", "HEAD", "suite.toml"],
            "exit_code": int(code),
            "problem": "",
            "answer": {"heading": to_json(answer.heading), "comparisons": to_json(answer.comparisons)},
        }
        (self.folder / "ready.json").write_text(json.dumps(document))

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.repository / file
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))

    def rehearse(self, **inputs: str) -> Rehearsed:
        return rehearse(
            ACTION,
            {"token": "secret", **inputs},
            workspace=self.repository,
            scratch=self.folder / "runner",
            github={"repository": "me/mine", "event.pull_request.number": "7"},
            environment=self.environment,
        )

    def our_comments(self) -> list[str]:
        return [comment["body"] for comment in json.loads(self.comments.read_text()) if comment["type"] == "Bot"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("ci"))
    before = Path.cwd()
    try:
        os.chdir(place.repository)
        assert run_command(["gate", "suite.toml", "--update"]) == ExitCode.FINE
    finally:
        os.chdir(before)
    return place


@pytest.fixture(autouse=True)
def as_committed(place: Place) -> None:
    run_git(place.repository, "checkout", "--quiet", "--", ".")


@pytest.mark.slow
def test_no_change_is_green_in_every_step(place: Place) -> None:
    place.put_ready(comparison(ComparisonVerdict.SAME), code=ExitCode.FINE)
    done = place.rehearse(gate="suite.toml", check="claims.toml", ab="suite.toml")
    assert done.exit_code == ExitCode.FINE, done.output
    steps = ["Forget", "Gate", "Check", "Compare", "Verdict", "Report", "Comment", "Artifact", "Exit"]
    assert list(done.ran) == steps
    assert done.outputs["verdict"] == {"exit-code": "0"}
    (comment,) = place.our_comments()
    assert "### stepbench: pass" in comment
    assert "1 cell: 1 same" in comment
    assert "1 claim: 1 match" in comment
    assert done.summary == comment
    assert not [line for line in done.output.splitlines() if line.startswith("::")]
    assert done.used["Artifact"]["path"] == ".bench-ci"
    assert (place.repository / ".bench-ci" / "report.html").is_file()
    assert ".bench-ci" not in run_git(place.repository, "status", "--porcelain")


def test_a_planted_regression_fails_and_the_same_comment_is_updated(place: Place) -> None:
    place.put_ready(comparison(ComparisonVerdict.SLOWER), code=ExitCode.REGRESSION)
    done = place.rehearse(ab="suite.toml")
    assert done.exit_code == ExitCode.REGRESSION
    assert done.ran[-1] == "Exit"
    (comment,) = place.our_comments()
    assert "### stepbench: FAIL" in comment
    assert "SLOWER: +10.0 %, on 8 sessions" in comment
    (line,) = [line for line in done.output.splitlines() if line.startswith("::")]
    assert line.startswith(
        "::error file=net.py,line=14,title=stepbench ab%3A slower::net.py:net/train/b8/cpu/fp32: +10.0 %25"
    )


@pytest.mark.slow
def test_a_planted_layer_fails_the_gate_on_the_line_of_the_model(place: Place) -> None:
    place.edit("net.py", "self.second(self.first(x))", "self.second(self.first(self.first(x)))")
    done = place.rehearse(gate="suite.toml")
    assert done.exit_code == ExitCode.REGRESSION
    (comment,) = place.our_comments()
    assert "flops_forward" in comment
    assert "```csv" in comment
    errors = [line for line in done.output.splitlines() if line.startswith("::error")]
    assert len(errors) == 1
    assert errors[0].startswith("::error file=net.py,line=14,title=stepbench gate%3A more::")
    assert "aten.addmm.default 2 -> 3" in errors[0]


@pytest.mark.slow
def test_a_wrong_claim_fails_the_check_on_its_own_line(place: Place) -> None:
    place.edit("claims.toml", "108", "107")
    done = place.rehearse(check="claims.toml")
    assert done.exit_code == ExitCode.REGRESSION
    (comment,) = place.our_comments()
    assert "MISMATCH" in comment
    errors = [line for line in done.output.splitlines() if line.startswith("::error")]
    assert len(errors) == 1
    assert errors[0].startswith("::error file=claims.toml,line=6,title=stepbench check%3A mismatch::")
    assert "documented 107, measured 108" in errors[0]


def test_a_misspelt_suite_is_wrong_usage_and_the_comment_says_what(place: Place) -> None:
    done = place.rehearse(gate="siute.toml")
    assert done.exit_code == ExitCode.USAGE
    (comment,) = place.our_comments()
    assert "siute.toml" in comment
    assert "::error title=stepbench gate-siute::" in done.output


@pytest.mark.slow
def test_a_misspelt_suite_is_not_hidden_by_one_of_the_same_stem(place: Place) -> None:
    done = place.rehearse(gate="typo/suite.toml suite.toml")
    assert done.exit_code == ExitCode.USAGE
    assert "typo/suite.toml" in done.summary


def test_without_the_right_to_comment_the_verdict_stands(place: Place) -> None:
    before = place.our_comments()
    place.put_ready(comparison(ComparisonVerdict.SAME), code=ExitCode.FINE)
    done = place.rehearse(ab="suite.toml", token="another")
    assert done.exit_code == ExitCode.FINE
    assert place.our_comments() == before
    assert "::notice title=stepbench::no permission to comment here" in done.output
    assert "### stepbench: pass" in done.summary


def test_an_action_without_any_step_is_exit_code_5(place: Place) -> None:
    assert place.rehearse().exit_code == ExitCode.NOTHING


def test_the_workflow_of_this_repository_uses_inputs_that_the_action_has() -> None:
    inputs = yaml.safe_load(ACTION.read_text())["inputs"]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "performance.yml").read_text())
    (step,) = [s for job in workflow["jobs"].values() for s in job["steps"] if s.get("uses", "").endswith("/stepbench")]
    assert (ROOT / step["uses"] / "action.yml").is_file()
    assert set(step["with"]) <= set(inputs)
    page = (ROOT / "docs" / "ci.md").read_text()
    assert all(f"`{name}`" in page for name in inputs)


def test_what_schemas_of_github_say(tmp_path: Path) -> None:
    import subprocess

    for schema, file in (
        ("vendor.github-actions", ACTION),
        ("vendor.github-workflows", ROOT / ".github" / "workflows" / "performance.yml"),
    ):
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_options_of_ci_stand_before_the_step(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(["ci", "comment", "--folder", "x"]) == ExitCode.USAGE
    assert "options of ci stand before it" in capsys.readouterr().err
    assert run_command(["ci", "--folder", "x", "comment"]) == ExitCode.NOTHING
    assert run_command(["ci", "run", "mlp"]) == ExitCode.USAGE
