"""Inputs of a bare module, from what people type and back."""

from __future__ import annotations

from typing import Any

import pytest

from bench.core.cell import Cell
from bench.core.errors import UsageError
from bench.core.inputs import Input, inputs_of, inputs_text, only_shape, read_input_shape
from bench.core.jsonio import from_json, to_json

BERT = Input(name="ids", dtype="int64", shape=(128,), bounds=(0, 30522))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3x224x224", Input(shape=(3, 224, 224))),
        ("float32:8", Input(shape=(8,))),
        ("ids:int64:128:0..30522", BERT),
        (" ids : int64 : 128 : 0..30522 ", BERT),
        ("int32:4x4:-3..3", Input(dtype="int32", shape=(4, 4), bounds=(-3, 3))),
        ("mask:bool:128", Input(name="mask", dtype="bool", shape=(128,), bounds=(0, 2))),
        ("mask:bool:128:1..2", Input(name="mask", dtype="bool", shape=(128,), bounds=(1, 2))),
        ("uint8:3x8x8", Input(dtype="uint8", shape=(3, 8, 8), bounds=(0, 256))),
        ("t:float64:scalar:0..1", Input(name="t", dtype="float64", shape=(), bounds=(0.0, 1.0))),
        ("t:scalar", Input(name="t", shape=())),
        ("complex64:7", Input(dtype="complex64", shape=(7,))),
        ("x:5", Input(name="x", shape=(5,))),
    ],
)
def test_an_input_is_read_and_written_in_its_shortest_form(text: str, expected: Input) -> None:
    assert inputs_of(read_input_shape(text)) == (expected,)
    assert inputs_of(read_input_shape(expected.text)) == (expected,)
    assert len(expected.text) <= len(text.replace(" ", "")) + 4  # floats get a decimal point


@pytest.mark.parametrize("given", ["3x8", ["3x8"], (3, 8), [3, 8], [(3, 8)], "float32:3X8", "3x8 "])
def test_one_plain_input_is_its_shape_however_it_is_given(given: Any) -> None:
    assert read_input_shape(given) == (3, 8)


def test_several_inputs_keep_their_order_and_survive_json_and_text() -> None:
    shape = read_input_shape(["3x8", "ids:int64:128:0..30522,mask:bool:128"])
    assert shape == ("3x8", "ids:int64:128:0..30522", "mask:bool:128")
    cell = Cell(model="net.py:Net", batch_size=2, input_shape=shape)
    assert from_json(Cell, to_json(cell)) == cell
    assert cell.id.endswith("/3x8,ids:int64:128:0..30522,mask:bool:128")
    assert read_input_shape(inputs_text(shape)) == shape


def test_a_plain_shape_keeps_the_key_that_old_records_have() -> None:
    assert Cell(model="net:Net", batch_size=4, input_shape=(3, 8)).key == "94675dcc337c9cf6"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("ids:int64:128", "int64 needs the range of its values, such as ids:int64:128:0..1000"),
        ("ids:int46:128:0..5", "torch type 'int46' is unknown. Did you mean 'int64'?"),
        ("ids:int64", "the shape is missing"),
        ("int64:8:5..5", "'5..5' is no range"),
        ("int64:8:0-5", "'0-5' is no range"),
        ("int8:8:0..300", "int8 holds -128..128 only"),
        ("8:0..nan", "is no range"),
        ("a:int64:8:0..5:7", "too many parts"),
        (["a:8", "a:9"], "a name stands twice"),
        ("3,224,224", "write 3x224x224 for one shape"),
        ("3x0", "whole numbers of at least 1"),
        ([], "no input"),
        (7, "no input"),
        ([True], "whole numbers of at least 1"),
        ("8x99999999999", "whole numbers of at least 1"),
    ],
)
def test_a_wrong_input_is_one_line_with_an_example(given: Any, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_input_shape(given)
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    assert "for example 3x224x224, int64:128:0..30522" in message
    assert "?. " not in message and ".. " not in message


def test_what_takes_one_image_refuses_other_inputs() -> None:
    assert only_shape((3, 8, 8)) == (3, 8, 8)
    with pytest.raises(UsageError, match="one image of float32 is taken here"):
        only_shape(("int64:8:0..5",))
