"""The scaling block: figures, reasons, and nothing where there is one process."""

from bench.report.formats import markdown
from bench.tables.document import page_text
from bench.tables.run import run_document
from bench.tables.scaling import ranks_document
from bench.tables.table import Page
from tests.stats.test_rank_scaling import alone, ranks


def test_the_block_fits_and_holds_the_figures():
    text = page_text(ranks_document([alone(), ranks(slower=1.5)]), Page(width=80))
    assert max(map(len, text.splitlines())) <= 80
    row = next(line for line in text.splitlines() if line.startswith("my_net"))
    for figure in ("128", "80", "12.00", "1", "33"):  # examples per second, efficiency, share, slowest rank, spread
        assert figure in row.split()


def test_efficiency_stands_in_80_columns_beside_long_names_and_both_kinds():
    name = "decoder_lm@layers=2,sequence_length=512"
    records = [
        alone(model=name),
        ranks(model=name),
        alone(model=name, batch_size=32),
        ranks(model=name, batch_size=16),
    ]
    text = page_text(ranks_document(records), Page(width=80))
    table = text.partition("Not shown: ")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert "efficiency" in table and "comm" in table
    assert "parallel" not in text  # one method: the caption names it
    assert text.startswith("ddp · weak: ")


def test_a_missing_share_has_its_reason_below():
    text = page_text(ranks_document([ranks()]), Page())
    assert "add --world-size 1" in text
    assert "- " in text


def test_runs_of_single_processes_have_no_block():
    assert page_text(ranks_document([alone()]), Page()) == ""
    assert markdown.write_document(ranks_document([alone()])) == ""


def test_the_markdown_page_has_the_block():
    page = markdown.write_document(run_document([alone(), ranks()]))
    assert "## Several processes" in page
    assert "efficiency %" in page


def test_ascii_is_enough():
    assert page_text(ranks_document([alone(), ranks()]), Page(unicode=False)).isascii()
