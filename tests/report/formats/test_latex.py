from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.record import Outcome
from bench.report.formats.latex import LONGEST_TABLE, escape, latex_table
from tests.goldens import check_golden
from tests.records import ENVIRONMENT, make_record, make_sweep
from tests.report.formats.runs import HOSTILE

# What a text may hold after escaping: letters, digits, harmless signs, and only these commands.
_COMMANDS = (
    r"\\text(?:backslash|asciitilde|asciicircum|less|greater|bar|asciigrave)\{\}|\\ldots\{\}"
    r"|\$\\(?:pm|mu|geq|approx|times|cdot)\$|\\[&%$#_{}]|\{-\}|\{''\}"
)
SAFE = re.compile(rf"(?:{_COMMANDS}|[^\\&%$#_{{}}~^<>|\"`\x00-\x1f])*")


def test_the_table_looks_as_it_did() -> None:
    check_golden("cells.tex", latex_table(make_sweep(), ENVIRONMENT, "20261123-175309-ab12cd"))


@given(st.text(max_size=60))
def test_no_text_can_command_latex(text: str) -> None:
    assert SAFE.fullmatch(escape(text))


def test_signs_that_fonts_lack_are_written_as_code_points() -> None:
    assert escape("模") == r"\textless{}U+6A21\textgreater{}"
    assert escape("Müller ±1 µs") == r"Müller $\pm$1 $\mu$s"
    assert escape("--x") == "{-}{-}x"


def body(table: str) -> list[str]:
    lines = table.splitlines()
    return lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]


def test_every_row_has_the_columns_of_the_head() -> None:
    table = latex_table(make_sweep(), ENVIRONMENT)
    columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", table)[1])
    for row in body(table):
        spanned = re.search(r"\\multicolumn\{(\d+)\}", row)
        cells = len(re.findall(r"(?<!\\)&", row)) + 1
        assert cells + (int(spanned[1]) - 1 if spanned else 0) == columns
        assert row.endswith(r" \\")


def test_units_stand_in_the_head_and_the_interval_in_the_row() -> None:
    table = latex_table([make_record()], ENVIRONMENT)
    assert "step ms" in table
    assert r"12.30 $\pm$ 0.08" in body(table)[0]


def test_the_caption_names_machine_and_method() -> None:
    caption = next(line for line in latex_table([make_record()], ENVIRONMENT).splitlines() if "caption" in line)
    assert "Test CPU, 2 cores" in caption
    assert r"step = median $\pm$ half its 95 \% interval" in caption
    assert "in 1 fresh process of its own" in caption


def test_a_cell_that_failed_has_words_and_no_figure() -> None:
    record = make_record("net", step=None, outcome=Outcome.OUT_OF_MEMORY, reason="50% & more_")
    table = latex_table([make_record(), record], ENVIRONMENT)
    assert r"\emph{out of memory}" in body(table)[1]
    assert r"OUT OF MEMORY: 50\% \& more\_" in table


def test_a_long_table_breaks_over_pages() -> None:
    records = [make_record(batch_size=size) for size in range(1, LONGEST_TABLE + 2)]
    table = latex_table(records, ENVIRONMENT)
    assert table.count(r"\begin{longtable}") == table.count(r"\end{longtable}") == 1
    assert r"\usepackage{longtable}" in table


@pytest.mark.parametrize("records", [(), make_sweep(), (make_record(HOSTILE, reason=HOSTILE),)])
def test_groups_and_environments_are_closed(records: tuple) -> None:
    table = latex_table(records, ENVIRONMENT, HOSTILE)
    bare = re.sub(r"\\[\\{}]", "", table)
    assert bare.count("{") == bare.count("}")
    assert re.findall(r"\\begin\{(\w+)\}", table) == re.findall(r"\\end\{(\w+)\}", table)[::-1]
    assert table.count("$") - table.count(r"\$") == 2 * len(re.findall(r"\$\\(?:pm|mu|geq|approx|times|cdot)\$", table))
