from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.cell import Cell, MemoryFormat, Mode, Precision
from bench.core.errors import StoreError
from bench.core.gate import CounterRow
from bench.store.expected import COUNTERS, counters_line, read_expected, write_expected


def make_row(cell: Cell | None = None, torch: str = "2.15", suite: str = "gate", value: int | None = 7) -> CounterRow:
    return CounterRow(
        suite=suite,
        torch=torch,
        cell=cell or Cell(model="my_net", batch_size=8),
        counters=tuple((name, value) for name in COUNTERS),
        dispatches=(("aten.addmm.default", 2), ("aten.convolution.default", 3)),
    )


def test_nothing_on_record_is_no_row(tmp_path: Path) -> None:
    assert read_expected(tmp_path / "nowhere") == ()


def test_rows_come_back_as_they_were_sorted(tmp_path: Path) -> None:
    odd = Cell(
        model='a, "quoted" one.py:net',
        mode=Mode.INFER,
        batch_size=100,
        device="cuda",
        precision=Precision.BF16_AMP,
        optimizer="adam-foreach",
        memory_format=MemoryFormat.CHANNELS_LAST,
        input_shape=(3, 224, 224),
    )
    rows = [
        make_row(torch="2.15"),
        make_row(torch="2.9", value=None),
        make_row(odd),
        make_row(Cell(model="my_net", batch_size=16)),
        make_row(suite="another"),
    ]
    write_expected(tmp_path, rows)
    back = read_expected(tmp_path)
    assert set(back) == set(rows)
    assert [(row.suite, row.torch, row.cell.batch_size) for row in back] == [
        ("another", "2.15", 8),
        ("gate", "2.9", 8),
        ("gate", "2.15", 8),
        ("gate", "2.15", 16),
        ("gate", "2.15", 100),
    ]


def test_writing_what_was_read_changes_no_byte(tmp_path: Path) -> None:
    write_expected(tmp_path, [make_row(Cell(model=name, batch_size=8)) for name in ("b", "a", "c")])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_expected(tmp_path, read_expected(tmp_path)[::-1])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_line_to_commit_is_the_line_of_the_file(tmp_path: Path) -> None:
    write_expected(tmp_path, [make_row()])
    assert counters_line(make_row()) == (tmp_path / "counters.csv").read_text().splitlines()[1]


def test_what_is_not_counted_is_an_empty_field_not_zero(tmp_path: Path) -> None:
    assert counters_line(make_row(value=None)).endswith("," * len(COUNTERS))
    assert counters_line(make_row(value=0)).endswith(",0" * len(COUNTERS))


@settings(max_examples=30)
@given(
    st.text(st.characters(exclude_categories=["C"]), min_size=1).filter(str.strip),
    st.integers(1, 10**6),
    st.integers(0, 2**60),
)
def test_any_model_name_survives(tmp_path_factory, model: str, batch_size: int, value: int) -> None:
    folder = tmp_path_factory.mktemp("expected")
    row = make_row(Cell(model=model, batch_size=batch_size), value=value)
    write_expected(folder, [row])
    assert read_expected(folder) == (row,)


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("counters.csv", lambda text: text.replace("parameters", "params"), "counters.csv:1: the columns must be"),
        ("counters.csv", lambda text: text.replace(",7,", ",7.5,", 1), "counters.csv:2: '7.5' is not a count"),
        ("counters.csv", lambda text: text.replace(",7,", ",-7,", 1), "counters.csv:2: '-7' is not a count"),
        ("counters.csv", lambda text: text.replace("train", "tain"), "counters.csv:2: mode 'tain' is unknown"),
        ("counters.csv", lambda text: text + "<<<<<<< HEAD\n", "counters.csv:3: 1 fields, not"),
        ("counters.csv", lambda text: text + text.splitlines()[1] + "\n", "counters.csv:3: a second row for my_net"),
        ("counters.csv", lambda text: text.splitlines()[0] + "\n", "has no row in counters.csv"),
        ("dispatches.csv", lambda text: text.replace(",3\n", ",many\n"), "dispatches.csv:3: 'many' is not a count"),
        ("dispatches.csv", lambda text: text.replace("default,3", "default"), "dispatches.csv:3: 4 fields, not 5"),
    ],
)
def test_a_broken_file_is_one_line_that_names_the_place(tmp_path: Path, file: str, change, words: str) -> None:
    write_expected(tmp_path, [make_row()])
    path = tmp_path / file
    path.write_text(change(path.read_text()))
    with pytest.raises(StoreError) as caught:
        read_expected(tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "counters.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StoreError, match="not UTF-8"):
        read_expected(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match="taken"):
        write_expected(tmp_path / "taken", [make_row()])


def test_a_file_of_before_an_axis_is_read_with_its_default(tmp_path: Path) -> None:
    old = make_row()
    write_expected(tmp_path, [old])
    path = tmp_path / "counters.csv"
    header, line = (text.split(",") for text in path.read_text().splitlines())
    later = [header.index(name) for name in ("threads", "seed", "accumulate", "clip_norm")]
    kept = [[text for index, text in enumerate(texts) if index not in later] for texts in (header, line)]
    path.write_text("\n".join(map(",".join, kept)) + "\n")
    assert read_expected(tmp_path) == (old,)


@pytest.mark.parametrize(("axis", "value"), [("accumulate", 4), ("clip_norm", 0.5), ("threads", 2), ("seed", 3)])
def test_cells_that_differ_in_any_axis_have_rows_of_their_own(tmp_path: Path, axis: str, value: object) -> None:
    row = make_row()
    other = replace(row, cell=replace(row.cell, **{axis: value}))
    write_expected(tmp_path, [row, other])
    assert {one.cell for one in read_expected(tmp_path)} == {row.cell, other.cell}
