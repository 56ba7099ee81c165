"""An error that nobody foresaw is one line and exit code 70: never a verdict, and never one of the codes 0 to 5."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import TRACEBACK_VARIABLE, run_command
from bench.core.errors import ExitCode


def broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError("a defect\nof two lines")


def test_an_unforeseen_error_is_one_line_and_exit_code_70(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.cli.app", broken)
    assert run_command(["list"]) == ExitCode.INTERNAL == 70
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    assert line.startswith("bench: internal error, ZeroDivisionError: a defect of two lines")


def test_the_traceback_is_shown_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.cli.app", broken)
    monkeypatch.setenv(TRACEBACK_VARIABLE, "1")
    assert run_command(["list"]) == ExitCode.INTERNAL
    assert "in broken" in capsys.readouterr().err


def test_an_internal_error_in_a_step_of_ci_is_no_verdict(tmp_path: Path) -> None:
    kept = {"schema": 1, "step": "gate", "arguments": [], "exit_code": 70, "problem": "", "answer": None}
    (tmp_path / "gate.json").write_text(json.dumps(kept))
    assert run_command(["ci", "--folder", str(tmp_path), "comment"]) == ExitCode.INTERNAL
