"""One axis value from what people type, or one line that says what would be right."""

from __future__ import annotations

import pytest

from bench.core.cell import Cell, CompileMode, MemoryFormat, Mode, Precision
from bench.core.errors import UsageError
from bench.core.text import suggest
from bench.suite.axes import AXES, axes_of, parse_choice, parse_positive


def one_line(caught: pytest.ExceptionInfo[UsageError]) -> str:
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("text", "expected"), [("1", 1), ("32", 32), (8, 8), (" 7 ", 7)])
def test_whole_numbers_are_read(text: str | int, expected: int) -> None:
    assert parse_positive(text, "batch size") == expected


@pytest.mark.parametrize("text", ["0", "-1", 0, -5])
def test_numbers_below_one_are_refused(text: str | int) -> None:
    with pytest.raises(UsageError) as caught:
        parse_positive(text, "batch size")
    assert one_line(caught) == f"batch size must be at least 1, found {int(text)}"


@pytest.mark.parametrize("text", ["abc", "", "1.5", "8,32", True, "0x10", 2.5, None, [8]])
def test_what_is_no_whole_number_is_refused(text: object) -> None:
    with pytest.raises(UsageError) as caught:
        parse_positive(text, "batch size")  # type: ignore[arg-type]
    assert one_line(caught).startswith(f"batch size must be a whole number, found {text!r}")


@pytest.mark.parametrize(("text", "expected"), [("3x224x224", (3, 224, 224)), ("10", (10,)), ("3X8x8", (3, 8, 8))])
def test_shapes_are_read(text: str, expected: tuple[int, ...]) -> None:
    assert axes_of(input_shape=text) == {"input_shape": (expected,)}


@pytest.mark.parametrize("text", ["", "x", "3x", "3x0", "3x-1", "3,224", "axb", "3x224,"])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        axes_of(input_shape=text)
    assert "3x224x224" in one_line(caught)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("kind", [Mode, Precision, CompileMode, MemoryFormat])
def test_every_choice_is_read_by_its_value(kind: type) -> None:
    for item in kind:
        assert parse_choice(kind, item.value, "axis") is item


def test_an_unknown_choice_is_refused_with_the_nearest_and_all() -> None:
    with pytest.raises(UsageError) as caught:
        parse_choice(Precision, "bf16-apm", "precision")
    assert one_line(caught) == (
        "precision 'bf16-apm' is unknown. Did you mean 'bf16-amp'? Use one of: fp32, tf32, bf16-amp, fp16-amp, bf16, "
        "fp16, fp64"
    )


def test_a_suggestion_is_made_only_where_something_is_near() -> None:
    assert suggest("zzz", ["fp32", "tf32"]) == "Use one of: fp32, tf32"


def test_every_axis_is_a_field_of_a_cell() -> None:
    assert list(AXES) == list(Cell.__dataclass_fields__)


@pytest.mark.parametrize("axis", AXES)
def test_an_empty_list_is_refused_on_every_axis(axis: str) -> None:
    with pytest.raises(UsageError, match="empty list"):
        AXES[axis].read_all([])


WRONG = {
    "model": [3, "", "  ", None],
    "mode": ["training", 3],
    "batch_size": [0, "abc", 2**31],
    "device": [0, ""],
    "precision": ["fp8", 32],
    "optimizer": [1, ""],
    "compile": ["yes", True],
    "memory_format": ["nhwc"],
    "input_shape": ["3x0", "a", 3],
    "threads": [0, "two"],
    "world_size": [0, "two", 1.5],
    "nodes": [0, "two", 1.5],
    "parallel": ["zero3", 2],
    "accumulate": [0, -1, 1.5, "x", True],
    "clip_norm": [0, -1.0, "x", True, float("inf"), float("nan")],
    "grad_mode": ["on", 1, True],
    "seed": ["abc", None, True, 1.5, 2**63],
}


@pytest.mark.parametrize(("axis", "value"), [(axis, value) for axis, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused_in_one_line_that_shows_it(axis: str, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        AXES[axis].read_all(value)
    assert str(value) in one_line(caught)


def test_all_wrong_values_were_tried() -> None:
    assert set(WRONG) == set(AXES)


def test_a_value_is_taken_once_and_order_is_kept() -> None:
    assert AXES["batch_size"].read_all(["32", 8, "8", 32]) == (32, 8)
    assert AXES["device"].read_all("cpu") == ("cpu",)


@pytest.mark.parametrize("name", [name for name, axis in AXES.items() if axis.is_optional])
def test_no_value_of_its_own_can_be_typed(name: str) -> None:
    axis = AXES[name]
    assert axis.read(axis.words(None)) is None
    assert axis.read(None) is None


def test_several_inputs_are_one_value() -> None:
    assert axes_of(input=["3x8x8", "ids:int64:4:0..9"]) == {"input_shape": (("3x8x8", "ids:int64:4:0..9"),)}
    with pytest.raises(UsageError, match="input_shape and input mean the same"):
        axes_of(input_shape="3x8x8", input="3x8x8")
