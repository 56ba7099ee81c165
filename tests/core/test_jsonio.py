"""Values survive the way to JSON and back; what is not of the type is refused by name."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import math
import pkgutil
import re
import types
import typing
from datetime import datetime
from enum import Enum
from typing import Any, Union

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bench.core
from bench.core.advice import Advice, AdviceKind
from bench.core.cell import Cell, Mode
from bench.core.claim import Claim, Erratum
from bench.core.comparison import Quad, Shot
from bench.core.estimate import Estimate
from bench.core.generation import PartTimes
from bench.core.jsonio import from_json, parse_json, to_json
from bench.core.record import Counters, FlopCount, Record, Sample

NOT_JSON = {"About", "Workload", "TextGenerator", "ImageSampler"}  # hold callables


def core_types() -> list[type]:
    modules = [importlib.import_module(f"bench.core.{info.name}") for info in pkgutil.iter_modules(bench.core.__path__)]
    found = {value for module in modules for value in vars(module).values() if dataclasses.is_dataclass(value)}
    return sorted((cls for cls in found if cls.__name__ not in NOT_JSON), key=lambda cls: cls.__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What holds a time and nothing else."""

    started_at: str


LOGARITHMS = re.compile(r"(shifts?|minimum_detectable|\.within|\.between)$|^Comparison\.(low|high|mean_high)$")


def values_of(hint: Any, name: str = "", sizes: tuple[int, int] = (0, 3)) -> st.SearchStrategy[Any]:
    """Make values of a type hint and a field's name, by rules of this test's own: independent of `jsonio._read`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return st.one_of([values_of(argument, name, sizes) for argument in arguments])
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values_of(arguments[0], name, sizes), min_size=sizes[0], max_size=sizes[1]).map(tuple)
    if origin is tuple:
        return st.tuples(*(values_of(argument, name, sizes) for argument in arguments))
    if hint is type(None):
        return st.none()
    if dataclasses.is_dataclass(hint):
        return instances(hint)
    if issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    if hint is str and name.endswith(".started_at"):
        return st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)).map(datetime.isoformat)
    if hint is float and name.endswith("seconds"):
        return st.floats(0, 1e10)
    if hint is float and LOGARITHMS.search(name):
        return st.floats(-100, 100)
    if hint is int and name.endswith(".examples"):
        return st.integers(min_value=1, max_value=2**63 - 1)
    return {
        bool: st.booleans(),
        int: st.integers(min_value=-(2**63), max_value=2**66 if "flop" in name else 2**63 - 1),
        float: st.floats(-1e300, 1e300),
        str: st.text(max_size=8),
    }[hint]


@functools.cache  # half of the time went into making the same strategies again for each example
def instances(cls: type) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    fitting = ("Classification", "Epoch", "SamplingTimes")  # their lists fit one another
    sizes = (2, 2) if cls.__name__ in fitting else (0, 3)
    fields, owner = dataclasses.fields(cls), cls.__name__
    return st.builds(
        cls, **{field.name: values_of(hints[field.name], f"{owner}.{field.name}", sizes) for field in fields}
    )


@pytest.mark.parametrize("cls", core_types(), ids=lambda cls: cls.__name__)
def test_every_core_type_is_frozen_slotted_and_keyword_only(cls: type) -> None:
    parameters = cls.__dataclass_params__
    assert parameters.frozen
    assert all(field.kw_only for field in dataclasses.fields(cls))
    assert not hasattr(object.__new__(cls), "__dict__")


@pytest.mark.parametrize("cls", core_types(), ids=lambda cls: cls.__name__)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_core_type_survives_json_with_types_intact(cls: type, data: st.DataObject) -> None:
    value = data.draw(instances(cls))
    again = from_json(cls, json.loads(json.dumps(to_json(value))))
    assert again == value
    assert repr(again) == repr(value)  # 3 stays an int, 3.0 a float, "3" a string: == alone would not tell


@pytest.mark.parametrize("fact", ["8", 8, 8.0, 0, 1.5, "", "nan", -1])
def test_a_union_keeps_the_type_of_each_fact(fact: str | int | float) -> None:
    advice = Advice(kind=AdviceKind.PHASE_GAP, facts=(("x", fact),))
    (found,) = from_json(Advice, json.loads(json.dumps(to_json(advice)))).facts
    assert found == ("x", fact)
    assert type(found[1]) is type(fact)


@pytest.mark.parametrize("value", [896, 0.75, 18_874_880, (None, 32, 48, 48), (5,), ()])
def test_a_claim_value_is_a_number_or_a_shape(value: Any) -> None:
    claim = Claim(id="a", model="m", quantity="q", value=value, erratum=Erratum(measured=value, reason="r"))
    again = from_json(Claim, json.loads(json.dumps(to_json(claim))))
    assert again == claim
    assert type(again.value) is type(value)


def test_an_integer_where_a_float_is_asked_becomes_a_float() -> None:
    estimate = from_json(
        Estimate, {"point": 1, "low": None, "high": 2, "confidence": 0.95, "n": 3, "n_effective": 3, "method": "m"}
    )
    assert type(estimate.point) is float
    assert type(estimate.high) is float
    assert type(estimate.n) is int


def test_enums_are_written_as_their_values_and_tuples_as_lists() -> None:
    data = to_json(Cell(model="m", batch_size=8, mode=Mode.INFER, input_shape=(3, 8)))
    assert data["mode"] == "infer"
    assert type(data["mode"]) is str
    assert data["input_shape"] == [3, 8]
    assert list(data) == [field.name for field in dataclasses.fields(Cell)]


CELL = {"model": "m", "batch_size": 8}
REFUSED = {
    "an unknown key": (Cell, CELL | {"batchsize": 8}, "Cell has no field 'batchsize'"),
    "a missing key": (Cell, {"model": "m"}, "batch_size"),
    "a string for an int": (Cell, CELL | {"batch_size": "8"}, "Cell.batch_size needs int, found '8'"),
    "a bool for an int": (Cell, CELL | {"batch_size": True}, "Cell.batch_size needs int, found True"),
    "a float for an int": (Cell, CELL | {"batch_size": 8.0}, "Cell.batch_size needs int, found 8.0"),
    "None where it is not allowed": (Cell, CELL | {"device": None}, "Cell.device needs str, found None"),
    "an unknown enum value": (Cell, CELL | {"precision": "fp8"}, "Cell.precision needs one of fp32, tf32"),
    "a string for a tuple": (Cell, CELL | {"input_shape": "3x8"}, "Cell.input_shape needs a list, found '3x8'"),
    "a wrong item of a tuple": (Cell, CELL | {"input_shape": [3, "8"]}, "Cell.input_shape needs int, found '8'"),
    "a pair of three": (
        Sample,
        {"phase": "step", "seconds": [], "discarded": [["a", 1, 2]]},
        "Sample.discarded needs 2",
    ),
    "a bool for a float": (Sample, {"phase": "step", "seconds": [True]}, "Sample.seconds needs float, found True"),
    "a list for an object": (Cell, [], "Cell needs a JSON object, found list"),
    "a wrong inner object": (
        Record,
        {
            "cell": {"model": "m"},
            "outcome": "ok",
            "started_at": "2026-11-23T17:53:09+00:00",
            "duration_seconds": 1.0,
            "stepbench": "",
        },
        "batch_size",
    ),
    "an empty time": (Shown, {"started_at": ""}, "Shown.started_at needs a time"),
    "a bool among facts": (Advice, {"kind": "phase-gap", "facts": [["x", True]]}, "Advice.facts"),
    "an object for a number": (Quad, {"base": [[{}]], "head": []}, "Quad.base"),
    "a negative time": (Sample, {"phase": "step", "seconds": [0.1, -0.1]}, "Sample.seconds needs seconds from 0"),
    "an infinite time": (Sample, {"phase": "step", "seconds": [math.inf]}, "Sample.seconds needs a finite number"),
    "no time": (Sample, {"phase": "step", "seconds": [1e300]}, "Sample.seconds needs seconds from 0 to 1e+10"),
    "not a number": (Advice, {"kind": "phase-gap", "facts": [["x", math.nan]]}, "Advice.facts needs a finite number"),
    "a change that no step can have": (
        Shot,
        {"cell_key": "a", "shift": 1e5},
        "Shot.shift needs a logarithm of at most",
    ),
    "an int that no float holds": (Sample, {"phase": "step", "seconds": [10**400]}, "found a number of about 401"),
    "a count of 64 bits and more": (Counters, {"parameters": 2**63}, "Counters.parameters is 9223372036854775808"),
    "FLOPs of no training": (FlopCount, {"forward": 10**4400}, "FlopCount.forward is a number of about 4401"),
    "a date that overflows": (
        Record,
        {
            "cell": CELL,
            "outcome": "ok",
            "started_at": "0001-01-01T00:00:00+14:00",
            "duration_seconds": 1,
            "stepbench": "",
        },
        "Record.started_at needs a time such as",
    ),
}


@pytest.mark.parametrize(("cls", "data", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_of_the_type_is_refused_by_name(cls: type, data: Any, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        from_json(cls, data)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_a_value_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="cannot write a object"):
        to_json(object())
    with pytest.raises(TypeError, match="set"):
        to_json({"a": {1, 2}})


def test_the_flops_of_a_long_training_are_a_count() -> None:
    assert from_json(FlopCount, {"forward": 2 * 10**19}).forward == 20_000_000_000_000_000_000


BROKEN = {
    b'{"a": 1, "b": {"c": 2, "c": 3}}': "the key 'c' is given twice",
    b"[NaN]": "NaN is no number",
    b"[-Infinity]": "-Infinity is no number",
    b"[1e999]": "1e999 is no finite number",
    b"[" + b"7" * 5000 + b"]": "a number of 5000 digits",
    b"[" * 100_000: "it is nested too deeply",
    b'{"a": "\xff"}': "invalid start byte",
    b"[1, 2": "delimiter",
    b"": "Expecting value",
}


@pytest.mark.parametrize(("data", "words"), BROKEN.items(), ids=BROKEN.values())
def test_json_that_no_value_of_ours_can_be_is_refused_in_one_line(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        parse_json(data)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 200


def test_json_is_read_with_a_byte_order_mark_and_long_digits() -> None:
    assert parse_json(b"\xef\xbb\xbf" + b'{"a": [1, 2.5, -3e-5]}') == {"a": [1, 2.5, -3e-5]}
    assert parse_json(b'{"a": "' + b"7" * 5000 + b'", "b": 20000000000000000000}')["b"] == 2 * 10**19


def test_samples_whose_sum_overflows_are_read() -> None:
    data = {"parts": [["forward", [9e307, 9e307, 9e307]]]}
    assert from_json(PartTimes, data).parts == (("forward", (9e307, 9e307, 9e307)),)
