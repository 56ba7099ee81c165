"""`bench report` on stored runs."""

from __future__ import annotations

import json

import pytest

from bench.cli import run_command
from bench.core.errors import ExitCode
from bench.store.runs import RunFolder, RunInfo
from tests.records import ENVIRONMENT, STARTED_AT, make_record


@pytest.fixture(autouse=True)
def run(tmp_path, monkeypatch):
    """Store one run in results/ of a folder of its own, and work there."""
    monkeypatch.chdir(tmp_path)
    folder = RunFolder.create(tmp_path / "results", RunInfo(started_at=STARTED_AT, environment=ENVIRONMENT))
    folder.append(make_record())
    return folder


def bench(capsys, *arguments):
    code = run_command([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_newest_run_is_the_default(run, tmp_path, capsys):
    code, out, err = bench(capsys, "report")
    assert (code, err) == (ExitCode.FINE, "")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"<h1>Benchmark report {run.run.id}</h1>" in page
    assert out.startswith("Report: report.html (")


def test_json_says_what_was_written(run, tmp_path, capsys):
    code, out, _ = bench(capsys, "report", run.run.id[:12], run.path, "-o", "two.html", "--format", "json")
    assert code == ExitCode.FINE
    document = json.loads(out)
    assert document == {
        "schema": 2,
        "command": "report",
        "file": "two.html",
        "bytes": (tmp_path / "two.html").stat().st_size,
        "runs": [run.run.id, run.run.id],
        "cells": 2,
    }


def test_a_run_that_is_not_there_is_one_line(capsys):
    code, out, err = bench(capsys, "report", "20200101")
    assert (code, out) == (ExitCode.USAGE, "")
    assert err.startswith("bench: no run '20200101' in results; found: ")
    assert len(err.splitlines()) == 1


def test_a_place_that_cannot_be_written_is_one_line(capsys):
    code, _, err = bench(capsys, "report", "-o", "no/such/folder/report.html")
    assert code == ExitCode.USAGE
    assert "no/such/folder" in err
    assert len(err.splitlines()) == 1
