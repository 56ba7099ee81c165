"""Scaling in words: what a newcomer reads below `bench run`."""

from __future__ import annotations

import pytest

from bench.report.formats.markdown import write_document
from bench.stats.scaling import scalings
from bench.tables.document import page_text
from bench.tables.scaling import scaling_document
from bench.tables.table import Page, display_width
from tests.records import make_record

LINE = [make_record("my_net", size, step=0.004 + 0.0005 * size) for size in (1, 4, 16, 64)]
FLAT = [make_record("mlp", size, step=0.001 * max(8, size)) for size in (1, 4, 8, 32)]
DEPTH = [make_record(f"decoder_lm@depth={size}", step=0.001 * size**1.5) for size in (2, 4, 8)]
FOUND = scalings([*LINE, *FLAT, *DEPTH])


def test_the_batch_and_the_options_have_a_table_each() -> None:
    text = page_text(scaling_document(FOUND), Page(width=100))
    assert text.count("──") and "my_net/train/b*/cpu/fp32" in text
    row = next(line for line in text.splitlines() if line.startswith("my_net"))
    assert "4.00 ± " in row and "500 ± " in row and "batch_size 1, 4, 16, 64" in row
    power = next(line for line in text.splitlines() if line.startswith("decoder_lm@depth"))
    assert "1.50 ±" in power


def test_a_fit_that_does_not_hold_is_said_below() -> None:
    text = " ".join(page_text(scaling_document(FOUND), Page()).split())
    assert "mlp/train/b*/cpu/fp32: the times follow no line: one is" in text
    assert "my_net/train/b*/cpu/fp32:" not in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_line_is_wider_than_the_page(width: int) -> None:
    assert max(map(display_width, page_text(scaling_document(FOUND), Page(width=width)).splitlines())) <= width


def test_nothing_is_written_where_nothing_scales() -> None:
    assert page_text(scaling_document(()), Page()) == ""
    assert write_document(scaling_document(())) == ""


def test_ascii_pages_hold_ascii_only() -> None:
    assert page_text(scaling_document(FOUND), Page(unicode=False)).isascii()


def test_markdown_has_both_tables_and_their_doubts() -> None:
    text = write_document(scaling_document(FOUND))
    assert text.count("|---|") >= 2
    assert "- mlp/train/b\\*/cpu/fp32: the times follow no line" in text
