from __future__ import annotations

from dataclasses import replace

from bench.core.cell import Cell, Mode
from bench.core.gate import CounterChange, CounterRow, GateRow, GateVerdict
from bench.tables.document import Verdict
from bench.tables.gate import change_text, gate_document, gate_summary, gate_verdict
from tests.goldens import check_golden
from tests.pages import as_markdown, on_page


def make_row(model: str, **counters: int) -> CounterRow:
    return CounterRow(
        suite="gate", torch="2.15", cell=Cell(model=model, batch_size=8), counters=tuple(counters.items())
    )


def changed(name: str, expected: int | None, found: int | None) -> CounterChange:
    return CounterChange(name=name, expected=expected, found=found)


SAME = GateRow(verdict=GateVerdict.SAME, expected=make_row("mlp"), found=make_row("mlp"))
MORE = GateRow(
    verdict=GateVerdict.MORE,
    expected=make_row("my_net"),
    found=make_row("my_net"),
    counters=(changed("dispatch_count", 141, 145), changed("bytes_touched", 1_033_554_192, 1_043_554_192)),
    operations=(changed("aten.relu.default", 4, 3), changed("aten.clone.default", 0, 5)),
)
LESS = GateRow(
    verdict=GateVerdict.LESS,
    expected=make_row("gru"),
    found=make_row("gru"),
    counters=(changed("flops_forward", 115_867_648, 115_867_647), changed("saved_bytes", None, 3)),
)
MISSING = GateRow(verdict=GateVerdict.MISSING, found=make_row("user.py:net"))
EXTRA = GateRow(verdict=GateVerdict.EXTRA, expected=make_row("rnn"))
UNCOUNTED = GateRow(
    verdict=GateVerdict.UNCOUNTED, expected=make_row("lstm"), found=make_row("lstm"), reason="ValueError: no <b>"
)
ROWS = (SAME, MORE, LESS, MISSING, EXTRA, UNCOUNTED)
LINES = (None, "gate,2.15,my_net,145", "gate,2.15,gru,1", "gate,2.15,user.py:net,7", None, None)


def test_text_looks_as_it_did() -> None:
    summary = gate_summary("gate", "2.15", ROWS)
    check_golden("gate-80.txt", f"{on_page(gate_document(ROWS, LINES))}\n\n{summary}\n")


def test_markdown_looks_as_it_did() -> None:
    verdict = Verdict(text=gate_verdict("gate", "2.15", ROWS))
    check_golden("gate.md", f"{as_markdown([verdict, *gate_document(ROWS, LINES)])}\n")


def test_a_gate_that_is_open_says_so_in_one_line() -> None:
    assert on_page(gate_document((SAME,), (None,))) == ""
    assert gate_verdict("gate", "2.15", (SAME,)) == "bench gate: pass · suite gate, torch 2.15: 1 cell: 1 same"


def test_operations_that_grew_come_first() -> None:
    text = on_page(gate_document((MORE,), (None,)))
    assert text.index("aten.clone") < text.index("aten.relu")


def test_the_row_to_commit_is_never_wrapped() -> None:
    line = ",".join(["a_long_name"] * 30)
    assert line in on_page(gate_document((LESS,), (line,)), 60).splitlines()


def test_a_change_is_never_written_as_no_change() -> None:
    assert change_text(changed("x", 10**9, 10**9 + 1)) == "+0.00000010 %"
    assert change_text(changed("x", 0, 5)) == "+5"
    assert change_text(changed("x", 5, None)) == "not counted"
    assert change_text(changed("x", None, 5)) == "new"


def test_markdown_of_a_hostile_name_stays_one_table_row() -> None:
    name = "evil|`@all\n# x"
    row = replace(MORE, found=make_row(name), expected=make_row(name))
    text = as_markdown(gate_document((row,), ("a\n```b",)))
    assert "\n# x" not in text
    assert "@all" not in text
    assert text.count("\n```") == 2


def test_a_gate_that_passes_on_what_is_left_names_the_empty_counters() -> None:
    row = CounterRow(
        suite="gate",
        torch="2.15",
        cell=Cell(model="gcn", mode=Mode.INFER, batch_size=8),
        counters=(("flops_forward", 3), ("flops_backward", None), ("bytes_touched", None)),
    )
    summary = gate_summary("gate", "2.15", (GateRow(verdict=GateVerdict.SAME, expected=row, found=row),))
    assert summary.endswith("1 same; not counted: bytes touched in 1 cell")  # an inference has no backward
