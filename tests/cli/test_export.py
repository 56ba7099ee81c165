from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.cli import run_command
from bench.core.errors import ExitCode
from bench.core.jsonio import to_json
from bench.core.record import Outcome
from bench.report import formats
from tests.cli.stored import store_run
from tests.records import make_claims, make_record


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def export(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run_command(["export", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("to", formats.names())
def test_a_run_is_written_to_a_file_or_to_standard_output(capsys: pytest.CaptureFixture[str], to: str) -> None:
    store_run(Path("results"))
    code, out, err = export(capsys, "latest", "--to", to)
    assert code == ExitCode.FINE
    assert out
    is_whole = formats.load(to).holds_failures
    assert ("2 of 20 cells were not measured and are left out" in err) is not is_whole
    assert export(capsys, "latest", "--to", to, "-o", "file")[:2] == (ExitCode.FINE, "")
    assert Path("file").read_text() == out


def test_an_empty_run_is_exit_code_5_unless_the_format_can_say_so(capsys) -> None:
    store_run(Path("results"), (make_record(step=None, outcome=Outcome.FAILED, reason="no"),))
    for to in formats.names():
        code, _, err = export(capsys, "--to", to)
        is_whole = formats.load(to).holds_failures
        assert code == (ExitCode.FINE if is_whole else ExitCode.NOTHING)
        assert err.count("\n") == (0 if is_whole else 1)


def test_junit_takes_the_claims_of_the_run_and_answers_of_check_and_gate(capsys) -> None:
    store_run(Path("results"))
    check = {"schema": 1, "command": "check", "claims": to_json(make_claims()[2:3])}
    gate = {
        "schema": 1,
        "command": "gate",
        "suite": "suite",
        "torch": "2.15",
        "rows": [
            {
                "cell_id": "x",
                "cell": to_json(make_record("net.py:net").cell),
                "verdict": "more",
                "counters": [{"name": "parameters", "expected": 1, "found": 2}],
                "operations": [],
                "reason": None,
                "row": "suite,2.15",
            }
        ],
    }
    Path("check.json").write_text(json.dumps(check))
    Path("gate.json").write_text(json.dumps({"step": "gate", "answer": gate}))  # as `bench ci` keeps it
    code, out, _ = export(capsys, "--to", "junit", "--with", "check.json", "--with", "gate.json")
    assert code == ExitCode.FINE
    suites = {suite.attrib["name"]: suite.attrib for suite in ElementTree.fromstring(out)}
    assert {name: (s["tests"], s["failures"]) for name, s in suites.items()} == {
        "cells": ("20", "1"),
        "claims": ("6", "2"),
        "gate": ("1", "1"),
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("latest",),
        ("latest", "--to", "nothing"),
        ("nowhere", "--to", "junit"),
        ("latest", "--to", "bencher", "--with", "x.json"),
        ("latest", "--to", "junit", "--with", "absent.json"),
        ("latest", "--to", "junit", "--with", "notes.json"),
        ("latest", "--to", "junit", "-o", "no/such/folder"),
        ("latest", "--to", "mlflow"),
        ("latest", "--to", "tensorboard", "--with", "notes.json"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], arguments: tuple) -> None:
    store_run(Path("results"))
    Path("notes.json").write_text("[]")
    code, out, err = export(capsys, *arguments)
    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
