from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.core.comparison import ComparisonVerdict
from bench.core.errors import ExitCode
from bench.core.jsonio import from_json, to_json
from bench.core.record import Outcome, Record
from bench.report.comment import LIMIT
from bench.store.runs import RunFolder, RunInfo
from bench.tables.catalog import COLUMNS
from tests.cli.stored import store_run
from tests.records import STARTED_AT, make_record, make_sweep
from tests.report.ci_results import comparison
from tests.report.formats.runs import hostile_run


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def fields_of_a_megabyte() -> Iterator[None]:
    before = csv.field_size_limit(10**7)
    yield
    csv.field_size_limit(before)


def show(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run_command(["show", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("width", [50, 80, 200])
def test_a_run_is_printed_again_within_the_width(capsys: pytest.CaptureFixture[str], width: int) -> None:
    folder = store_run(Path("results"))
    code, out, _ = show(capsys, "latest", "--width", str(width))
    assert code == ExitCode.FINE
    lines = [line for line in out.splitlines() if not line.startswith("Results: ")]
    assert max(map(len, lines)) <= width
    assert "18,874,880" in out
    assert out.splitlines()[-1] == f"Results: {folder.path}"
    table, _, rest = out.partition("Not shown: ")
    assert ("tokens" in table) == (width == 200)
    assert ("tokens" in rest.partition("shows all.")[0]) == (width != 200)  # and named with the width that shows it


def test_the_command_that_cures_a_doubt_names_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    folder = store_run(Path("results"))
    out = " ".join(show(capsys, "latest", "--width", "200")[1].split())
    assert f"`bench run --resume {folder.path} --retry doubted`" in out


def test_json_holds_the_records_and_claims(capsys: pytest.CaptureFixture[str]) -> None:
    store_run(Path("results"))
    document = json.loads(show(capsys, "--format", "json")[1])
    assert tuple(from_json(Record, record) for record in document["records"]) == make_sweep()
    assert len(document["claims"]) == 5
    assert document["run"]["started_at"] == STARTED_AT


def test_markdown_and_latex_are_those_of_the_report_room(capsys: pytest.CaptureFixture[str]) -> None:
    store_run(Path("results"))
    assert show(capsys, "--format", "markdown")[1].startswith("### 1 documented value wrong\n")
    latex = show(capsys, "--format", "latex")[1]
    assert r"\begin{tabular}" in latex
    assert "Test CPU" in latex


def test_a_table_that_is_not_there_is_answered_with_those_that_are(capsys) -> None:
    store_run(Path("results"))
    code, _, err = show(capsys, "--format", "csv", "--table", "nothing")
    assert code == ExitCode.USAGE
    assert all(table in err for table in COLUMNS)


@pytest.mark.parametrize("table", list(COLUMNS))
def test_a_hostile_run_is_safe_as_csv(capsys: pytest.CaptureFixture[str], table: str) -> None:
    run = hostile_run()
    store_run(Path("results"), run.records, run.claims)
    code, out, _ = show(capsys, "--format", "csv", "--table", table)
    assert code == ExitCode.FINE
    rows = list(csv.reader(io.StringIO(out)))
    assert len(rows) > (0 if table in ("layers", "scaling") else 1)
    assert not [field for row in rows for field in row if field.startswith(("=", "+", "@", "\t", "\r"))]
    assert any("cmd|" in field for row in rows for field in row) or table in ("layers", "scaling")


def test_a_hostile_run_fits_into_a_comment_and_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run = hostile_run()
    store_run(Path("results"), run.records, run.claims)
    for form in ("table", "markdown", "latex"):
        _, out, _ = show(capsys, "--format", form)
        assert not {"\x1b", "\x00", "\u202e"} & set(out)
        assert not [line for line in out.splitlines() if line.startswith("::")]
    assert len(show(capsys, "--format", "markdown")[1].encode()) <= LIMIT


def store_comparison(is_unfit: bool = False) -> RunFolder:
    folder = RunFolder.create(Path("results"), RunInfo(started_at=STARTED_AT))
    document = {
        "base": {"given": "main", "commit": "1a2b3c4d5e6f", "python": "python"},
        "head": {"given": ".", "commit": None, "python": "python"},
        "differing_fields": ["torch"],
        "settings": {"quads": 8, "seed": 5},
        "seconds": 83.0,
        "unfit": "too busy" if is_unfit else None,
        "is_cut_short": True,
        "comparisons": to_json((comparison(ComparisonVerdict.SLOWER),)),
        "sessions": [{"stage": "screen"}] * 6 + [{"stage": "confirm"}] * 8,
    }
    (folder.path / "comparison.json").write_text(json.dumps(document))
    return folder


def test_a_comparison_is_printed_again(capsys: pytest.CaptureFixture[str]) -> None:
    store_comparison()
    code, out, _ = show(capsys, "latest", "--width", "80")
    assert code == ExitCode.FINE
    assert "main (1a2b3c4d5)" in out
    assert "6 sessions + 8 to confirm of 8 quads, 1 min 23 s, seed 5" in " ".join(out.split())
    assert "SLOWER" in out
    assert "environments differ in torch" in out
    assert max(map(len, out.splitlines())) <= 80
    assert show(capsys, "--format", "markdown")[1].startswith("### Slower: 1 cell: 1 slower")
    assert json.loads(show(capsys, "--format", "json")[1])["comparisons"][0]["verdict"] == "slower"


@pytest.mark.parametrize("form", ["csv", "latex"])
def test_a_comparison_has_no_csv_and_no_latex(capsys: pytest.CaptureFixture[str], form: str) -> None:
    store_comparison()
    code, _, err = show(capsys, "--format", form)
    assert code == ExitCode.USAGE
    assert err.count("\n") == 1


def test_what_is_not_there_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = show(capsys, "latest")
    assert (code, err.count("\n")) == (ExitCode.USAGE, 1)
    store_run(Path("results"), ())
    code, _, err = show(capsys, "latest")
    assert (code, err.count("\n")) == (ExitCode.NOTHING, 1)


def test_a_record_that_cannot_be_read_is_named_and_the_others_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    folder = store_run(Path("results"), (make_record(), make_record(step=None, outcome=Outcome.FAILED, batch_size=9)))
    broken = sorted(folder.records_path.iterdir())[0]
    os.truncate(broken, 10)
    code, out, err = show(capsys, "latest")
    assert code == ExitCode.USAGE  # everything else is shown, and a script hears that something is missing
    assert broken.name in err
    assert "1 cell: 1" in out
