"""Names and messages that would break a format or command a terminal, through every door by which text leaves.

What a format is, `bench.report.formats` lists: one that is added is tried here without a line of its own.
"""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

from bench.cli import main
from bench.cli.output import say
from bench.cli.show import Form
from bench.core.errors import ModelError
from bench.core.text import LONGEST
from bench.report.comment import run_comment
from bench.runner.ci.annotations import Annotation, Level, annotation_lines
from bench.runner.endings import failure
from tests.cli.stored import store_run
from tests.report.formats.runs import HOSTILE, hostile_run

HARMFUL = set("\x1b\x00\u202e\u2028\u2029\ud800")
MEGABYTES = HOSTILE * 50_000
LARGEST = 400_000
"""Characters of a run of three cells in any format; the run holds a message of five million."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run, path = hostile_run(), tmp_path_factory.mktemp("results")
    store_run(path, run.records, run.claims)
    return path


def written(arguments: list[str], encoding: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Run a command whose standard output is of a locale, strict as Python makes it, and return the bytes."""
    stream = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stream, encoding=encoding))
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    assert ending.value.code == 0
    sys.stdout.flush()
    return stream.getvalue()


@pytest.mark.parametrize("form", [form.value for form in Form])
def test_every_format_is_whole_and_harmless_in_every_locale(results, monkeypatch, form: str) -> None:
    data = written(["show", "--format", form, "--results", str(results)], "ascii", monkeypatch)
    text = data.decode("ascii" if form == "table" else "utf-8")
    assert "cmd|" in text.replace("\\textbar{}", "|").replace("\\|", "|")  # it is shown
    assert not HARMFUL & set(text)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert not [line for line in text.splitlines() if line.startswith("::")]
    if form == "json":
        assert json.loads(text)["records"][1]["reason"] == MEGABYTES  # what a program reads is not cut
    else:
        assert len(text) < LARGEST
    if form in ("junit", "markdown", "csv", "pytest-benchmark"):  # the others have no room for a whole reason
        assert re.search(r"\([0-9],[0-9]{3},[0-9]{3} characters\)", text.replace("\\", ""))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_file_is_written_in_utf_8_whatever_the_locale(results, monkeypatch, encoding: str) -> None:
    data = written(["export", "--to", "markdown", "--results", str(results)], encoding, monkeypatch)
    assert "±" in data.decode("utf-8")


def test_the_report_is_harmless_in_every_locale(results, monkeypatch, tmp_path) -> None:
    written(["report", "-o", str(tmp_path / "r.html"), "--results", str(results)], "ascii", monkeypatch)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "cmd|" in page and not HARMFUL & set(page)


def test_messages_annotations_comments_and_reasons_are_one_harmless_line(capsys) -> None:
    run = hostile_run()
    say(ModelError(MEGABYTES))
    annotation = Annotation(level=Level.ERROR, title=HOSTILE, message=MEGABYTES, file=HOSTILE, line=1)
    lines = [capsys.readouterr().err.removesuffix("\n"), *annotation_lines([annotation])]
    for error in (ModelError(MEGABYTES), ValueError("\x1b" + "x" * 5_000_000)):
        reason = failure(error).reason
        assert isinstance(error, ModelError) or "characters)" in str(reason)
        lines.append(str(reason))
    assert "characters)" in lines[0] and "characters)" in lines[1]
    for line in lines:
        assert line.isprintable() and len(line) <= 2 * LONGEST
    comment = run_comment(run.records, run.claims, run.environment)
    assert not HARMFUL & set(comment)
