from __future__ import annotations

from pathlib import Path

import pytest

from bench.registry import Option, describe, names


@pytest.mark.parametrize("name", names())
def test_every_model_says_what_it_is_and_what_each_option_means(name: str) -> None:
    info = describe(name)
    assert info.about.endswith(".")
    assert info.options
    assert all(option.type and option.default and option.comment for option in info.options)


def test_options_are_read_as_written() -> None:
    options = {option.name: option for option in describe("mlp").options}
    assert options["depth"] == Option(
        name="depth", type="int", default="3", comment="linear layers, the output layer included"
    )
    assert options["activation"].default == "'relu'"
    assert {option.name: option.type for option in describe("decoder_lm").options}["kv_heads"] == "int | None"


def test_a_user_s_class_and_function_are_described_by_their_parameters(folder: Path) -> None:
    info = describe("net.py:Net")
    assert info.about == "A small net."
    assert info.options == (
        Option(name="classes", type="int", default="4"),
        Option(name="bias", type="bool", default="True"),
        Option(name="rate", type="float", default="0.5"),
        Option(name="name", default="'x'"),
    )
    assert describe("loads:workload").about == "Make the user's workload."
    assert describe("five.py").options[0] == Option(name="width", type="int", default="3", comment="of the layer")


def test_a_torchvision_model_is_described_by_its_source() -> None:
    assert describe("torchvision:resnet18").about.startswith("ResNet-18 from")


@pytest.mark.parametrize(
    "name", ["absent", "absent:f", "absent.py:f", "broken.py:f", "broken.py", "mlp@", "raises.f:x", ""]
)
def test_what_cannot_be_read_is_described_by_its_name_alone(folder: Path, name: str) -> None:
    info = describe(name)
    assert (info.name, info.about, info.options) == (name, "", ())
