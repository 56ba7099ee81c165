from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.cell import Mode
from bench.core.record import Outcome
from bench.report.formats.markdown import escape
from bench.tables.claims import claims_document
from bench.tables.parts import counts_document, layers_document
from bench.tables.run import cells_document, cells_rows, run_document, throughput
from tests.goldens import check_golden
from tests.pages import as_markdown
from tests.records import ENVIRONMENT, make_claims, make_counters, make_layers, make_record, make_sweep

DETAILED = make_record(counters=replace(make_counters(uncounted=True), layers=make_layers()))


def test_the_summary_looks_as_it_did() -> None:
    check_golden("summary.md", as_markdown(run_document(make_sweep(), make_claims(), ENVIRONMENT)) + "\n")


def test_details_look_as_they_did() -> None:
    parts = [
        as_markdown(layers_document(DETAILED)),
        as_markdown(counts_document([DETAILED])),
        as_markdown(claims_document(make_claims())),
    ]
    check_golden("details.md", "\n\n".join(parts) + "\n")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("my_net", "my_net"),
        ("_x_ *b* `c` ~d~", "\\_x\\_ \\*b\\* \\`c\\` \\~d\\~"),
        ("a|b\nc", "a\\|b c"),
        ("<script>&", "&lt;script&gt;&amp;"),
        ("[x](http://e)", "\\[x\\](http&#58;//e)"),
        ("mlp@width=3 @team #12 $x$", "mlp&#64;width=3 &#64;\u200bteam \\#\u200b12 \\$x\\$"),
        ("\\|", "\\\\\\|"),
    ],
)
def test_text_from_outside_stands_as_it_is(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@given(st.text(min_size=1, max_size=40))
def test_no_model_name_breaks_the_table(name: str) -> None:
    rows = cells_rows([make_record(name, step=None, outcome=Outcome.FAILED, reason=name)])
    lines = as_markdown([rows]).splitlines()
    bars = [len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines]
    assert len(lines) == 3 and len(set(bars)) == 1
    assert not any(re.search(r"<[a-zA-Z/!]", line) for line in lines)


def test_every_row_has_as_many_cells_as_the_header() -> None:
    for text in (as_markdown([cells_rows(make_sweep())]), as_markdown(layers_document(DETAILED))):
        assert len({line.count(" | ") for line in text.splitlines() if not line.startswith("|-")}) == 1


def test_outcomes_other_than_ok_stand_in_the_table_and_in_words() -> None:
    assert "| skipped |" in as_markdown(cells_document(make_sweep()))
    assert "outcome" not in as_markdown(cells_document([make_record()]))
    assert "SKIPPED: cpu without bfloat16 instructions" in as_markdown(run_document(make_sweep()))


def test_the_throughput_grid_is_made_where_there_is_one() -> None:
    grid = throughput(make_sweep())
    assert grid is not None
    header, _, *rows = as_markdown([grid]).splitlines()
    assert header == "| model | b8 bf16-amp | b8 fp32 | b32 bf16-amp | b32 fp32 |"
    assert rows[0] == "| mlp | 15873 | 11111 | - | 19048 |"  # 8 / 0.504 ms and so on
    assert throughput([make_record()]) is None
    assert throughput([make_record(batch_size=1), make_record(), make_record(mode=Mode.INFER)]) is None
    assert throughput([]) is None


def test_an_empty_run_is_said_in_words() -> None:
    assert as_markdown(run_document([])) == "# Benchmark run\n\n**0 cells: none**"
    assert as_markdown(cells_document([])) == as_markdown(counts_document([])) == "no cells"
    assert as_markdown(claims_document([])) == "no claims"
    assert as_markdown(layers_document(make_record())) == "my_net/train/b8/cpu/fp32: no layers were counted"


def test_writing_a_table_loads_neither_pandas_nor_torch() -> None:
    modules = "bench.report.formats.table, bench.report.formats.markdown"
    code = f"import sys, {modules}; sys.exit(bool({{'pandas', 'torch'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "text", ["see www.evil.com/x now", "WWW.evil.com", "mail a@b.com", "a.b@c-d.org", "http://e.com"]
)
def test_addresses_do_not_become_links_where_github_renders(text: str) -> None:
    cmarkgfm = pytest.importorskip("cmarkgfm")
    html = cmarkgfm.github_flavored_markdown_to_html(f"| h |\n|---|\n| {escape(text)} |\n\n{escape(text)}\n")
    assert "<a " not in html


@pytest.mark.parametrize("text", ["@octocat hi", "(@org/team)", "#12", "owner/repo#5", "GH-12", "gh-7"])
def test_no_mention_or_reference_stands_in_the_rendered_text(text: str) -> None:
    cmarkgfm = pytest.importorskip("cmarkgfm")
    html = cmarkgfm.github_flavored_markdown_to_html(escape(text))
    assert not re.search(r"(?<!\w)@\w|#\d|GH-\d", html, re.IGNORECASE)


def test_a_commit_is_code_and_no_reference() -> None:
    assert escape("base a5c3785ed8d6a35868bc169f07e40e889087fd2e, 1048576 B") == (
        "base `a5c3785ed8d6a35868bc169f07e40e889087fd2e`, 1048576 B"
    )
