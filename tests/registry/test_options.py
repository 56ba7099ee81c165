from __future__ import annotations

import pytest

from bench.core.errors import ModelError
from bench.registry.spec import convert, convert_literal, convert_options


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("3", "int", 3),
        ("1_000", "int", 1000),
        ("3", "float", 3.0),
        ("1e-3", "float", 0.001),
        ("true", "bool", True),
        ("False", "bool", False),
        ("0", "bool", False),
        ("1", "bool", True),
        ("3", "str", "3"),
        ("none", "str", "none"),
        ("none", "int | None", None),
        ("4", "int|None", 4),
        ("4", "Optional[int]", 4),
        ("none", "typing.Optional[float]", None),
        ("0.5", "int | float", 0.5),
        ("5", "int | float", 5),
        ("tanh", "int | str", "tanh"),
        ("7", "int | str", 7),
        ("7", "", 7),
        ("x", "Literal['x', 'y']", "x"),
    ],
)
def test_text_becomes_a_value_of_the_annotated_type(text: str, annotation: str, value: object) -> None:
    converted = convert(text, annotation)
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("text", "annotation", "says"),
    [
        ("x", "int", "an int"),
        ("1.5", "int", "an int"),
        ("x", "float", "a float"),
        ("2", "bool", "a bool"),
        ("none", "int", "an int"),
        ("x", "int | None", "an int or none"),
    ],
)
def test_text_of_another_type_is_refused(text: str, annotation: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"^{says}"):
        convert(text, annotation)


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("0.5", 0.5), ("1e3", 1000.0), ("true", True), ("None", None), ("relu", "relu"), ("1.2.3", "1.2.3")],
)
def test_a_literal_is_read_where_the_text_is_one(text: str, value: object) -> None:
    converted = convert_literal(text)
    assert converted == value
    assert type(converted) is type(value)


def test_an_unknown_option_is_answered_with_the_nearest_and_all_there_are() -> None:
    with pytest.raises(ModelError, match=r"has no option 'widht'. Did you mean 'width'. Its options: width, depth"):
        convert_options("mlp@widht=3", [("widht", "3")], {"width": "int", "depth": "int"})


def test_a_model_without_options_says_so() -> None:
    with pytest.raises(ModelError, match=r"Its options: none"):
        convert_options("m@a=3", [("a", "3")], {})


def test_a_bad_value_names_the_option_and_its_type() -> None:
    with pytest.raises(ModelError, match=r"'mlp@width=x': option width=x is not an int"):
        convert_options("mlp@width=x", [("width", "x")], {"width": "int"})
