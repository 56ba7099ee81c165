"""What a run says of tokens and of its beginning is in every view: terminal, Markdown, CSV, history and others."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import run_command
from bench.core.cell import CompileMode
from bench.core.record import ColdStart, Record
from bench.core.units import format_count
from bench.stats.cold import start_of
from bench.stats.summary import summarise
from bench.store.runs import RunFolder
from tests.cli.stored import store_run
from tests.records import BUSY, begun, make_begun, make_record
from tests.stats.test_rank_scaling import alone, ranks

LENGTHS = (128, 512)
BATCH = 8
PAID_OFF = 22


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STEPBENCH_HISTORY", raising=False)


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code = run_command([*arguments])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def texts(slower: float = 1.0) -> tuple[Record, ...]:
    """Make the cells of `--sequence-length 128,512`."""
    return tuple(
        make_record(f"decoder_lm@sequence_length={n}", BATCH, step=slower * 2e-4 * n, tokens_per_example=n)
        for n in LENGTHS
    )


def store(records: tuple[Record, ...]) -> RunFolder:
    return store_run(Path("results"), records, claims=())


def rates(records: tuple[Record, ...]) -> list[float]:
    found = [summarise(record).tokens_per_second for record in records]
    assert found == pytest.approx([BATCH / 2e-4] * 2, rel=0.01)
    return [rate for rate in found if rate is not None]


def rows_of_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_tokens_and_the_time_of_one_stand_in_a_terminal_of_80_columns(capsys) -> None:
    store(texts())
    rate = format_count(rates(texts())[0])
    assert rate == "40.0 k"
    for width, has_time in (("60", False), ("80", True), ("120", True)):
        lines = bench(capsys, "show", "--width", width).partition("Not shown: ")[0].splitlines()
        assert max(map(len, lines)) <= int(width)
        head, *rows = [line for line in lines if " tokens" in line or rate in line]
        assert len(rows) == len(LENGTHS)
        assert ("token" in head.split()) == has_time  # besides `tokens`
        assert all(("25.0" in row.split()) == has_time for row in rows)  # µs


def test_tokens_stand_in_markdown_and_csv(capsys) -> None:
    store(texts())
    markdown = bench(capsys, "show", "--format", "markdown")
    (head,) = [line for line in markdown.splitlines() if "tokens /s" in line]
    names = [name.strip() for name in head.split("|")]
    rows = [line.split("|") for line in markdown.splitlines() if line.startswith("| decoder")]
    assert [row[names.index("tokens /s")].strip() for row in rows] == ["40.0 k"] * 2
    assert [row[names.index("token µs")].strip() for row in rows] == ["25.0"] * 2
    for row, rate in zip(rows_of_csv(bench(capsys, "show", "--format", "csv")), rates(texts()), strict=True):
        assert float(row["tokens_per_second"]) == rate
        assert float(row["token_seconds"]) == pytest.approx(1 / rate)


def rows_of_latex(text: str) -> list[dict[str, str]]:
    """Read a table, its head first."""
    lines = text.splitlines()
    head = lines[lines.index(r"\toprule") + 1]
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    cells = [[cell.strip() for cell in line.removesuffix(r"\\").split(" & ")] for line in (head, *body)]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]


def test_tokens_stand_in_latex(capsys) -> None:
    store(texts())
    rows = rows_of_latex(bench(capsys, "show", "--format", "latex"))
    assert [(row["tokens /s"], row[r"token $\mu$s"]) for row in rows] == [("40.0 k", "25.0")] * 2
    store((*texts(), make_record()))  # beside what has no tokens, too
    rows = rows_of_latex(bench(capsys, "show", "--format", "latex"))
    assert [row[r"token $\mu$s"] for row in rows] == ["25.0", "25.0", "{-}"]


def test_the_numbers_of_a_table_stand_in_json(capsys) -> None:
    plain, compiled = make_begun()
    store((*texts(), plain, compiled))
    answer = json.loads(bench(capsys, "show", "--format", "json"))
    rows = rows_of_csv(bench(capsys, "show", "--format", "csv"))
    assert [one["tokens_per_second"] for one in answer["figures"]] == [*rates(texts()), None, None]
    assert [one["compile_payback_steps"] for one in answer["figures"]] == [None, None, None, PAID_OFF]
    for figures, row in zip(answer["figures"], rows, strict=True):
        assert "model" not in figures  # words are in the record
        numbers = {name: value for name, value in figures.items() if type(value) in (int, float)}
        assert numbers == pytest.approx({name: float(row[name]) for name in numbers})
        assert all(row[name] == "" for name, value in figures.items() if value is None)


def test_tokens_stand_in_a_comparison(capsys) -> None:
    base, head = store(texts()), store(texts(slower=2.0))
    names = (base.path.name, head.path.name)
    found = json.loads(bench(capsys, "compare", *names, "--format", "json"))["nominations"]
    assert [one["tokens"] for one in found] == [BATCH * n for n in LENGTHS]
    text = bench(capsys, "compare", *names, "--format", "markdown")
    (line,) = [line for line in text.splitlines() if "base tokens/s" in line]
    titles = [name.strip() for name in line.split("|")]
    row = next(line for line in text.splitlines() if line.startswith("| decoder")).split("|")
    figures = {title: value.strip() for title, value in zip(titles, row, strict=True)}
    assert (figures["base tokens/s"], figures["head tokens/s"]) == ("40.0 k", "20.0 k")
    assert (figures["base µs/token"], figures["head µs/token"]) == ("25.0", "50.0")
    others = [store((make_record(),)).path.name for _ in names]
    assert "tokens" not in bench(capsys, "compare", *others, "--width", "200")


def test_tokens_stand_in_the_history(capsys) -> None:
    store(texts())
    bench(capsys, "history", "ingest")
    for metric, values in (("tokens_per_second", rates(texts())), ("token_seconds", [1 / r for r in rates(texts())])):
        trends = json.loads(bench(capsys, "history", "show", "--metric", metric, "--format", "json"))["trends"]
        assert [trend["points"][0]["value"] for trend in trends] == pytest.approx(values)
    assert "k/s" in bench(capsys, "history", "show", "--metric", "tokens_per_second")
    assert " 25.0" in bench(capsys, "history", "show", "*length=128*", "--metric", "token_seconds")  # µs


@pytest.mark.parametrize("to", ["openmetrics", "bencher", "github-action-benchmark-bigger", "junit"])
def test_tokens_stand_in_what_other_tools_read(capsys, to) -> None:
    store(texts())
    written = bench(capsys, "export", "--to", to)
    assert all(str(rate) in written for rate in rates(texts()))
    if to == "openmetrics":
        assert written.count("\nstepbench_token_seconds{") == len(LENGTHS)


def test_the_time_of_a_token_stands_in_what_other_tools_read(capsys) -> None:
    store(texts())
    times = [pytest.approx(1 / rate) for rate in rates(texts())]
    measures = json.loads(bench(capsys, "export", "--to", "bencher")).values()
    assert [one["seconds-per-token"]["value"] for one in measures] == times
    entries = json.loads(bench(capsys, "export", "--to", "github-action-benchmark"))
    found = [one for one in entries if one["name"].endswith(": token")]
    assert [(one["value"], one["unit"]) for one in found] == [(time, "s") for time in times]
    assert all("range" in one for one in found)
    store((make_record(),))
    assert "token" not in bench(capsys, "export", "--to", "github-action-benchmark")


def test_what_several_processes_gain_is_shown_again(capsys) -> None:
    store((alone(), ranks(slower=1.5)))
    for form in ("table", "markdown"):
        out = bench(capsys, "show", "--format", form)
        (row,) = [line for line in out.partition("efficiency")[2].splitlines() if "my_net" in line]
        assert {"128", "80"} <= set(row.replace("|", " ").split())  # examples/s and efficiency
    bench(capsys, "report", "-o", "page.html")
    page = Path("page.html").read_text()
    assert '<section id="ranks"' in page and "efficiency" in page


def test_a_table_of_80_columns_says_when_compiling_has_paid_off(capsys) -> None:
    store(make_begun())
    out = bench(capsys, "show", "--columns", "cold", "--width", "80")
    table = out.partition("Not shown: ")[0].splitlines()
    assert max(map(len, table)) <= 80
    assert "fp32" in table[0] and not any("precision" in line for line in table)  # alike in all rows: in the caption
    head = table.index(next(line for line in table if "paid off" in line))
    assert "after steps" in table[head + 1]
    assert [line.split()[-1] for line in table if "±" in line][-2:] == ["-", str(PAID_OFF)]


def test_a_table_of_80_columns_shows_cold_starts_where_there_are_any_and_the_doubts(capsys) -> None:
    plain, compiled = make_begun()
    cold = ColdStart(has_cache=False, python_seconds=0.1, import_seconds=1.9, build_seconds=0.5)
    compiled = replace(compiled, cold_starts=(replace(cold, step_seconds=(20.4, 0.5, 0.5)),), advice=(BUSY,))
    store((replace(plain, cold_starts=(replace(cold, step_seconds=(3.0, 1.0, 1.0)),)), compiled))
    table = bench(capsys, "show", "--columns", "cold", "--width", "80").partition("Not shown: ")[0].splitlines()
    assert max(map(len, table)) <= 80
    rows = [line.split() for line in table if "±" in line][-2:]
    assert "5.50" in rows[0] and "22.9" in rows[1]
    assert rows[1][-1] == "B"


def test_all_of_a_beginning_stands_in_a_wide_table_and_in_markdown(capsys) -> None:
    plain, compiled = make_begun()
    cold = ColdStart(has_cache=False, python_seconds=0.1, import_seconds=1.9, build_seconds=0.5)
    cached = replace(cold, has_cache=True, step_seconds=(6.5, 0.5, 0.5))
    compiled = replace(compiled, cold_starts=(replace(cold, step_seconds=(20.4, 0.5, 0.5)), cached))
    plain = replace(plain, cold_starts=(replace(cold, step_seconds=(3.0, 1.0, 1.0)),))
    store((plain, compiled))
    names = (
        "build",
        "first step",
        "steady after steps",
        "start-up",
        "paid off after steps",
        "compile",
        "cold start",
        "cached start",
    )
    out = bench(capsys, "show", "--columns", "cold", "--width", "160")
    assert all(name in out for name in names if " " not in name)  # the last word of others stands on a line of its own
    markdown = bench(capsys, "show", "--columns", "cold", "--format", "markdown")
    (head,) = [line for line in markdown.splitlines() if "paid off after" in line]
    titles = [title.strip() for title in head.split("|")]
    rows = [line.split("|") for line in markdown.splitlines() if line.startswith("| my_net")]
    figures = [dict(zip(titles, map(str.strip, row), strict=True)) for row in rows]
    assert all(any(title.startswith(name) for title in titles) for name in names)
    assert [one["paid off after steps"] for one in figures] == ["-", "36"]  # 17.9 s more, 0.5 s less per step
    assert [one["cold start s"] for one in figures] == ["5.50", "22.9"]
    assert [one["cached start s"] for one in figures] == ["-", "9.00"]
    rows = rows_of_latex(bench(capsys, "show", "--columns", "cold", "--format", "latex"))
    assert [row["paid off after steps"] for row in rows] == ["{-}", "36"]


def test_what_cold_starts_cost_and_why_one_is_missing_is_shown_again(capsys) -> None:
    taken = ColdStart(has_cache=False, step_seconds=(3.0, 1.0, 1.0), total_seconds=7.0)
    refused = ColdStart(has_cache=False, reason="a cell of several processes is not started cold")
    alone = replace(make_record(step=1.0), cold_starts=(taken,))
    ranks = replace(make_record(step=1.0, world_size=2), cold_starts=(refused,))
    store((alone, ranks))
    out = " ".join(bench(capsys, "show", "--columns", "cold", "--width", "200").split())
    assert "Cold starts took 7 s in 1 fresh interpreter" in out
    assert f"no cold start of {ranks.cell.id}: {refused.reason}" in out


def test_a_beginning_stands_in_csv(capsys) -> None:
    never = begun(make_record(batch_size=16, step=1.0), build=0.5, first=1.2)
    slower = begun(make_record(batch_size=16, step=1.5, compile=CompileMode.DEFAULT), build=0.6, first=11.0)
    store((*make_begun(), never, slower))
    rows = rows_of_csv(bench(capsys, "show", "--format", "csv"))
    assert [row["compile_payback_steps"] for row in rows] == ["", str(PAID_OFF), "", ""]  # never is no number
    assert [row["compile_payback_reason"] for row in rows] == ["", "", "", "never"]
    for row, record in zip(rows, (*make_begun(), never, slower), strict=True):
        start = start_of(record)
        for name in ("build_seconds", "first_step_seconds", "steps_until_steady", "startup_seconds"):
            assert float(row[name]) == getattr(start, name), name


def test_the_history_keeps_when_compiling_has_paid_off(capsys) -> None:
    plain, compiled = make_begun()
    folder = store((plain, compiled))
    alone = store((replace(compiled, started_at="2026-11-24T00:00:00+00:00"),))
    bench(capsys, "history", "ingest")
    answer = json.loads(bench(capsys, "history", "show", "--metric", "compile_payback_steps", "--format", "json"))[
        "trends"
    ]
    points = {trend["cell_key"]: [(one["run"], one["value"]) for one in trend["points"]] for trend in answer}
    assert points == {
        plain.cell.key: [(folder.path.name, None)],
        compiled.cell.key: [(folder.path.name, PAID_OFF), (alone.path.name, None)],
    }
    steady = json.loads(bench(capsys, "history", "show", "--metric", "startup_seconds", "--format", "json"))["trends"]
    assert {trend["cell_key"]: trend["points"][0]["value"] for trend in steady} == pytest.approx(
        {record.cell.key: start_of(record).startup_seconds for record in (plain, compiled)}
    )
    bench(capsys, "history", "show", "--metric", "compile_payback_steps")
