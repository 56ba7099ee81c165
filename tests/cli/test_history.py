"""`bench history` as it is typed, on a SQLite file; the tables themselves are tested on both databases elsewhere."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.core.errors import ExitCode
from bench.core.record import Outcome
from bench.stats.summary import summarise
from tests.store.history.entries import CELL, commit_of, record_of, store_run

STEP_DAY = 20


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STEPBENCH_HISTORY", raising=False)


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run_command(["history", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def answer_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    code, out, err = bench(capsys, *arguments, "--format", "json")
    assert code == ExitCode.FINE, err
    return json.loads(out)


def fill(days: int = 30, step_at: int = STEP_DAY) -> list[Path]:
    """Runs of one cell: 2 % of noise in a fixed pattern, and 20 % more from a day on."""
    return [
        store_run(
            Path("results"), record_of(day, step=0.010 * (1.2 if day >= step_at else 1) * (1 + day * 7 % 5 / 100))
        )
        for day in range(days)
    ]


def test_the_whole_way_from_runs_to_the_command_that_judges(capsys: pytest.CaptureFixture[str]) -> None:
    fill()
    code, out, _ = bench(capsys, "ingest")
    assert (code, out) == (0, "results/history.sqlite: 30 new records, 0 known; 30 sources\n")
    code, out, _ = bench(capsys, "show")
    assert code == 0
    assert "my_net/train/b8/cpu/fp32" in out
    assert max(map(len, out.splitlines())) <= 80
    code, out, _ = bench(capsys, "nominate")
    assert code == 0
    command = f"bench ab {commit_of(STEP_DAY - 1)[:12]} {commit_of(STEP_DAY)[:12]} my_net -b 8"
    assert f"  judge: {command}\n" in out
    assert "not verdicts" in out
    (found,) = answer_json(capsys, "nominate")["nominations"]
    assert (found["kind"], found["command"]) == ("change", command)
    Path("results/accepted.csv").write_text(f"cell,commit,metric,reason\n{found['accept']}\n")
    assert answer_json(capsys, "nominate")["nominations"] == []
    trend = answer_json(capsys, "show", CELL.key)["trends"][0]
    assert trend["accepted"] == [{"index": STEP_DAY, "commit": commit_of(STEP_DAY)[:12], "reason": "why"}]


def test_show_json_holds_what_the_records_say(capsys: pytest.CaptureFixture[str]) -> None:
    fill(3)
    bench(capsys, "ingest")
    document = answer_json(capsys, "show", "my_net", "--last", "2")
    (trend,) = document["trends"]
    assert (document["schema"], document["command"]) == (2, "history show")
    assert (trend["count"], trend["metric"], len(trend["points"])) == (3, "step_median_seconds", 2)
    step = summarise(record_of(2, step=0.010 * (1 + 2 * 7 % 5 / 100))).step
    assert step is not None
    assert trend["points"][-1]["value"] == step.point
    assert trend["points"][-1]["commit"] == commit_of(2)
    counts = answer_json(capsys, "show", "--metric", "parameters")["trends"][0]
    assert [point["value"] for point in counts["points"]] == [9_547_360] * 3


def test_the_page_is_written_beside_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    fill()
    bench(capsys, "ingest")
    code, out, _ = bench(capsys, "show", "-o", "pages/trend.html")
    assert code == 0
    assert out.endswith("Page: pages/trend.html\n")
    page = Path("pages/trend.html").read_text()
    assert page.count('<g class="point">') == 30
    assert f"bench ab {commit_of(STEP_DAY - 1)[:12]}" in page
    assert "default-src &#39;none&#39;" in page


def test_what_cannot_be_read_is_said_and_exit_code_2_while_the_rest_is_in(capsys: pytest.CaptureFixture[str]) -> None:
    paths = fill(2)
    next((paths[0] / "records").iterdir()).write_text('{"schema": ')
    code, out, err = bench(capsys, "ingest")
    assert code == ExitCode.USAGE
    assert "1 new records, 0 known, 1 could not be read" in out
    assert err.count("\n") == 1
    assert "is not whole JSON" in err


def test_nothing_to_ingest_and_no_history_are_exit_code_5(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(capsys, "show")[0] == ExitCode.NOTHING
    code, out, _ = bench(capsys, "ingest")
    assert (code, "0 sources" in out) == (ExitCode.NOTHING, True)
    code, _, err = bench(capsys, "nominate")
    assert code == ExitCode.NOTHING
    assert "the history is empty" in err


def test_the_history_can_be_named_by_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(1)
    monkeypatch.setenv("STEPBENCH_HISTORY", "team/history.sqlite")
    assert bench(capsys, "ingest")[1].startswith("team/history.sqlite: 1 new records")
    assert bench(capsys, "ingest", "--history", "other.sqlite")[1].startswith("other.sqlite: 1 new records")


def test_a_password_is_printed_nowhere(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fill(1)
    monkeypatch.setenv("STEPBENCH_HISTORY", "postgresql://team:hunter2@127.0.0.1:1/bench?sslpassword=hunter2")
    for arguments in (["ingest"], ["show"], ["nominate"], ["prune", "--keep", "1"], ["show", "--help"]):
        code, out, err = bench(capsys, *arguments)
        assert "hunter2" not in out + err
        assert code == (0 if "--help" in arguments else ExitCode.USAGE)
        assert "Traceback" not in err


def test_prune_says_what_would_go_and_does_it_with_yes(capsys: pytest.CaptureFixture[str]) -> None:
    paths = fill(5)
    bench(capsys, "ingest")
    code, out, _ = bench(capsys, "prune", "--keep", "2")
    assert code == 0
    assert "3 of 5 records would be removed, of 1 cell, measured 2026-01-01 to 2026-01-03" in out
    assert "--yes does it" in out
    assert answer_json(capsys, "show")["trends"][0]["count"] == 5
    done = answer_json(capsys, "prune", "--keep", "2", "--yes", "--folders")["pruned"]
    assert (done["is_done"], done["records"]) == (True, 3)
    assert [Path(folder).name for folder in done["folders"]] == [path.name for path in paths[:3]]
    assert [path.is_dir() for path in paths] == [False] * 3 + [True] * 2
    assert "2 known" in bench(capsys, "ingest")[1]


def test_a_cell_that_failed_is_a_row_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    fill(3)
    failed = replace(record_of(4, step=None), outcome=Outcome.OUT_OF_MEMORY, reason="no memory left")
    store_run(Path("results"), failed)
    bench(capsys, "ingest")
    for cell in ([], ["my_net"]):
        assert "out_of_memory: no memory left" in bench(capsys, "show", *cell)[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "resnet5"], "no cell 'resnet5'"),
        (["show", "--metric", "step_seconds"], "no metric named 'step_seconds'"),
        (["show", "--last", "0"], "greater than or equal to 1"),
        (["show", "--history", "mysql://x/y"], "only in SQLite or PostgreSQL"),
        (["show", "--accepted", "none.csv"], "there is no file none.csv"),
        (["nominate", "--at", "soon"], "--at must be a share"),
        (["prune"], "prune what?"),
        (["prune", "--older-than", "soon"], "'soon' is not a duration"),
        (["prune", "--unreachable"], "needs the whole git repository"),
        (["ingest", "nowhere"], "no run 'nowhere'"),
        (["ingest", "--history", "results"], "is a folder, not a history"),
        (["forget"], "No such command 'forget'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    fill(1)
    bench(capsys, "ingest")
    code, out, err = bench(capsys, *arguments)
    assert code == ExitCode.USAGE, err
    assert words in err
    assert err.count("\n") == 1, err
    assert "Traceback" not in out + err


def test_a_wrong_line_of_accepted_changes_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    fill(1)
    bench(capsys, "ingest")
    Path("results/accepted.csv").write_text("cell,commit,metric,reason\nmy_net,HEAD,*,x\n")
    code, _, err = bench(capsys, "nominate")
    assert code == ExitCode.USAGE
    assert f"results{os.sep}accepted.csv:2: 'HEAD' is no commit" in err
