"""`bench profile` through the real command line, in real fresh processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.core.errors import ExitCode
from tests.perfetto import read_trace

USER = f"{Path(__file__).parents[1] / 'runner' / 'user_models.py'}"
TINY = (f"{USER}:tiny", "--input-shape", "4", "-b", "8", "--threads", "1", "--steps", "4")


def profile(capsys, *arguments: str) -> tuple[int, str, str]:
    code = run_command(["profile", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two profiles: of a small model, and of one that has other layers."""
    folder = tmp_path_factory.mktemp("profiles")
    trace = folder / "trace.json"
    results = ["--results", str(folder / "results")]
    import contextlib
    import io

    documents = []
    for arguments in ((*TINY, "--memory", "--trace", str(trace)), ("mlp", "-b", "8", "--threads", "1", "--steps", "4")):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            assert run_command(["profile", *arguments, *results, "--format", "json"]) == ExitCode.FINE
        documents.append(json.loads(output.getvalue()))
    return folder, documents


def test_rows_account_for_the_step_and_everything_is_on_disk(runs) -> None:
    folder, (document, _) = runs
    (one,) = document["cells"]
    found = one["profile"]
    seconds = sum(cost["seconds"] for layer in found["layers"] for cost in layer["costs"])
    assert seconds == pytest.approx(found["step_seconds"])
    assert {layer["name"] for layer in found["layers"]} >= {"0", "1", "2", "(loss)", "(optimizer)"}
    assert found["memory"]["points"]
    run = Path(document["folder"])
    key = next((run / "profile").iterdir()).stem
    assert json.loads((run / "profile" / f"{key}.json").read_text()) == found
    record = json.loads((run / "records" / f"{key}.json").read_text())
    assert record["samples"][0]["seconds"] == found["steps_seconds"]
    assert "Where the time goes" in (run / "report.html").read_text()
    assert read_trace(folder / "trace.json")["stepbench"]["contents"] == "3 steps"
    assert found["trace_note"] == "3 steps"


def test_the_rows_of_a_difference_sum_to_it(runs, capsys) -> None:
    folder, documents = runs
    names = [Path(document["folder"]).name for document in documents]
    arguments = ["compare", *names, "--results", str(folder / "results")]
    code, (out, err) = run_command([*arguments, "--format", "json"]), capsys.readouterr()
    assert code == ExitCode.FINE, err
    (diff,) = json.loads(out)["diffs"]
    change = diff["after_seconds"] - diff["before_seconds"]
    for rows in (diff["layers"], diff["operators"]):
        total = sum((row["after"] or 0) - (row["before"] or 0) for row in rows)
        assert total == pytest.approx(change, rel=1e-6, abs=1e-12)
    removed = {row["name"] for row in diff["layers"] if row["after"] is None}
    assert {"0", "1", "2"} <= removed
    code, (out, _) = run_command(arguments), capsys.readouterr()
    assert code == ExitCode.FINE
    assert profile(capsys, "--diff", *names, "--results", str(folder / "results")) == (
        ExitCode.FINE,
        out,
        f"bench: `bench profile --diff` is now `bench compare {' '.join(names)}`\n",
    )
    assert max(map(len, out.splitlines())) <= 80


def test_a_model_that_breaks_is_said_and_nothing_was_measured(capsys, tmp_path) -> None:
    arguments = (f"{USER}:BreaksInForward", "--input-shape", "4", "-b", "2", "--results", str(tmp_path))
    code, out, err = profile(capsys, *arguments)
    assert code == ExitCode.NOTHING
    assert "not profiled: ValueError: shapes do not fit" in " ".join(out.split())  # a long folder breaks the line
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no model was named"),
        (("mlp", "--diff", "a", "b"), "it takes no models, found mlp"),
        (("mlp", "--trace", "/nowhere/t.json"), "there is no folder '/nowhere'"),
        (("mlp", "-b", "2,4", "--trace", "t.json"), "name one cell"),
        (("resnet5",), "Did you mean"),
        (("mlp", "--steps", "0"), "--steps"),
    ],
    ids=["nothing", "both", "no-folder", "two-cells", "model", "steps"],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, arguments, words) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = profile(capsys, *arguments)
    assert code == ExitCode.USAGE
    assert words in err
    assert err.count("\n") == 1
    assert "Traceback" not in out + err
