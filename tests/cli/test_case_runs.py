"""Stored runs of `bench generate` and `bench images`: shown again, compared, kept in a history; nothing is measured."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.core.errors import ExitCode
from bench.core.generation import Generation, Sampled
from bench.core.jsonio import to_json
from bench.core.record import Outcome
from bench.store.cases import write_case
from bench.store.runs import RunFolder, RunInfo
from tests.records import ENVIRONMENT, STARTED_AT
from tests.scenario_cases import make_generation, make_sampled


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STEPBENCH_HISTORY", raising=False)


def store(*measured: Generation | Sampled, slower: float = 1.0, day: int = 23) -> str:
    """Store a run of cases, measured on a day, each of its tokens so many times as long; return its id."""
    kind = "generation" if isinstance(measured[0], Generation) else "sampling"
    settings = {kind: [to_json(one.case) for one in measured]}
    folder = RunFolder.create(
        Path("results"), RunInfo(started_at=STARTED_AT, environment=ENVIRONMENT, settings=settings)
    )
    for one in measured:
        if isinstance(one, Generation) and one.times:
            tokens = tuple(tuple(slower * second for second in text) for text in one.times.token_seconds)
            one = replace(one, times=replace(one.times, token_seconds=tokens))
        started_at = STARTED_AT.replace("-23T", f"-{day}T")
        write_case(folder, replace(one, environment=ENVIRONMENT, started_at=started_at))
    return folder.path.name


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run_command([*arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_generations_are_shown_again_in_every_format_that_has_words_for_them(capsys):
    store(make_generation())
    code, out, _ = bench(capsys, "show")
    assert code == ExitCode.FINE
    assert "Time to the first token and per token" in out and "decoder_lm" in out
    assert "| decoder_lm |" in bench(capsys, "show", "--format", "markdown")[1]
    (row,) = csv.DictReader(io.StringIO(bench(capsys, "show", "--format", "csv")[1]))
    assert float(row["token_p50_seconds"]) == pytest.approx(0.001, rel=0.1)
    assert len(json.loads(bench(capsys, "show", "--format", "json")[1])["generations"]) == 1
    code, _, err = bench(capsys, "show", "--format", "junit")
    assert code == ExitCode.USAGE
    assert err.count("\n") == 1 and "has no junit; use table, markdown, csv or json" in err
    code, _, err = bench(capsys, "show", "--format", "csv", "--table", "layers")
    assert code == ExitCode.USAGE and "its table is generations" in err


def test_the_numbers_of_a_case_stand_in_json_as_in_its_table(capsys):
    store(make_generation())
    (row,) = csv.DictReader(io.StringIO(bench(capsys, "show", "--format", "csv")[1]))
    (figures,) = json.loads(bench(capsys, "show", "--format", "json")[1])["figures"]
    assert figures["decode_tokens_per_second"] == float(row["decode_tokens_per_second"]) > 0
    assert figures["token_p99_high_seconds"] is None and row["token_p99_high_seconds"] == ""
    assert set(figures) < set(row)


def test_an_export_of_cases_names_the_command_that_writes_them(capsys):
    store(make_generation())
    code, _, err = bench(capsys, "export", "latest", "--to", "openmetrics")
    assert (code, err.count("\n")) == (ExitCode.USAGE, 1)
    assert "holds measured texts or images, not cells; `bench show` prints them" in err


def test_images_are_shown_again(capsys):
    store(make_sampled(5))
    code, out, _ = bench(capsys, "show", "latest")
    assert code == ExitCode.FINE
    assert "Time per image and per denoising step" in out


def test_two_runs_of_a_case_are_compared_token_by_token_and_nominate_no_cell(capsys):
    base, head = store(make_generation()), store(make_generation(), slower=1.5)
    code, out, err = bench(capsys, "compare", base, head, "--format", "json")
    assert code == ExitCode.FINE, err
    document = json.loads(out)
    token, first = document["nominations"]
    assert token["cell_id"].endswith("/p32+11 token") and first["cell_id"].endswith("/p32+11 first token")
    assert token["head"] / token["base"] == pytest.approx(1.5)
    assert token["is_suspect"] and not first["is_suspect"]
    assert document["commands"] == []  # no command compares a case of two commits
    assert "p32+11 token" in bench(capsys, "compare", base, head)[1]


def test_a_case_that_failed_is_missing_with_its_reason(capsys):
    bad = replace(make_generation(), outcome=Outcome.FAILED, reason="no room", times=None)
    base, head = store(make_generation()), store(bad)
    code, out, _ = bench(capsys, "compare", base, head)
    assert code == ExitCode.FINE
    assert "head: failed: no room" in out


def test_cases_of_other_kinds_have_nothing_in_common(capsys):
    base, head = store(make_generation()), store(make_sampled(5))
    code, _, err = bench(capsys, "compare", base, head)
    assert code == ExitCode.NOTHING and "have no cell in common" in err


def test_a_history_holds_cases_each_once_and_shows_their_trend(capsys):
    for day in range(1, 10):
        store(make_generation(), make_generation(prompt=64), slower=1 + day / 100, day=10 + day)
    store(make_sampled(5))
    code, out, err = bench(capsys, "history", "ingest")
    assert code == ExitCode.FINE, err
    assert "19 new records" in out
    assert "0 new records, 19 known" in bench(capsys, "history", "ingest")[1]
    code, out, err = bench(capsys, "history", "show", "decoder_lm/infer/b4/cpu/fp32/p32+11", "--format", "json")
    assert code == ExitCode.FINE, err
    (trend,) = json.loads(out)["trends"]
    assert [point["value"] for point in trend["points"]] == pytest.approx(
        [0.001035 * (1 + day / 100) for day in range(1, 10)], rel=0.02
    )
    assert all(point["low"] <= point["value"] <= point["high"] for point in trend["points"])
    assert "diffusion" in bench(capsys, "history", "show")[1]
    assert bench(capsys, "history", "nominate")[0] == ExitCode.FINE


def test_a_list_of_runs_counts_cases_where_a_run_has_no_cells(capsys: pytest.CaptureFixture[str]) -> None:
    run = store(make_generation())
    assert run_command(["list", "runs"]) == ExitCode.FINE
    assert capsys.readouterr().out.startswith(
        f"{run.rpartition('/')[2]}  {STARTED_AT[:16].replace('T', ' ')} UTC  1 case"
    )
