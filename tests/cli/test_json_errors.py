"""An error reaches a machine that reads stdout, whole and with its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import run_command


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["count", "no_such_model"], 2, "no_such_model"),
        (["count", "mlp", "-b", "zero"], 2, "zero"),
        (["show", "nothing_there"], 2, "nothing_there"),
        (["run"], 2, ""),
    ],
    ids=["a model", "an option", "a run", "a suite"],
)
@pytest.mark.parametrize("form", [["--format", "json"], ["--format=json"]], ids=["two words", "one word"])
def test_an_error_is_json_on_stdout_with_the_exit_code(
    arguments: list[str],
    code: int,
    words: str,
    form: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments == ["run"]:
        arguments = ["run", "missing.toml"]
    assert run_command([*arguments, *form]) == code
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["command"] == arguments[0]
    assert document["exit_code"] == code
    assert words in document["error"]
    assert captured.err == f"bench: {document['error']}\n"


def test_an_interruption_is_json_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.cli.app", lambda **_: 130)  # what typer makes of Ctrl-C
    assert run_command(["count", "mlp", "--format", "json"]) == 130
    assert json.loads(capsys.readouterr().out)["exit_code"] == 130


def test_without_json_stdout_stays_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["count", "no_such_model"]) == 2
    assert capsys.readouterr().out == ""


def test_no_locale_and_no_name_breaks_the_json(tmp_path: Path) -> None:
    name = "mod\udce8le\u2028\x1b[31m"
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "bench", "count", name, "--format", "json"]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment, timeout=100)
    assert done.returncode == 2
    assert done.stdout.isascii() and b"\x1b" not in done.stdout
    assert "mod" in json.loads(done.stdout)["error"]
