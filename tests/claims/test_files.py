"""Claim files: what they say is read as it stands, and what makes no sense is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.claims.files import load, load_ratios, shipped_files
from bench.claims.quantities import QUANTITIES
from bench.core.claim import Claim, Erratum
from bench.core.errors import UsageError
from bench.core.jsonio import from_json, to_json

DOCUMENT = '[document]\ntitle = "A page"\nplace = "top"\nmodel = "my_net"\n'
CLAIM = '[[claim]]\nid = "a"\nquantity = "parameters"\nvalue = 896\n'
ERRATUM = 'erratum = {{ measured = {}, reason = "slip" }}\n'


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "claims.toml"


def test_a_full_claim_is_read_as_it_stands(written: Path) -> None:
    written.write_text(
        DOCUMENT + '[[claim]]\nid = "a"\nmodel = "torchvision:resnet18"\nlayer = "fc"\nquantity = "macs_forward"\n'
        'value = 512_000\nrounded_to = 1000\ninput_shape = [3, 224, 224]\nrelative_to = "x"\nrelative_layer = "y"\n'
        'scope = "weights"\nsource = "its own"\nerratum = { measured = 513_000, reason = "slip" }\n'
    )
    assert load(written) == (
        Claim(
            id="a",
            model="torchvision:resnet18",
            layer="fc",
            quantity="macs_forward",
            value=512_000,
            relative_to="x",
            relative_layer="y",
            input_shape=(3, 224, 224),
            scope="weights",
            tolerance=500 / 512_000,
            source="its own",
            erratum=Erratum(measured=513_000, reason="slip"),
        ),
    )


def test_model_and_source_default_to_the_document(written: Path) -> None:
    written.write_text(DOCUMENT + CLAIM)
    (claim,) = load(str(written))
    assert (claim.model, claim.source, claim.layer, claim.tolerance) == ("my_net", "A page, top", None, 0.0)


def test_a_batch_is_written_as_b(written: Path) -> None:
    written.write_text(DOCUMENT + '[[claim]]\nid = "a"\nquantity = "output_shape"\nvalue = ["B", 3, 8]\n')
    assert load(written)[0].value == (None, 3, 8)


@pytest.mark.parametrize("path", shipped_files(), ids=lambda path: path.stem)
def test_shipped_files_load_and_survive_json(path: Path) -> None:
    claims = (*load(path), *load_ratios(path))
    assert claims
    assert tuple(from_json(Claim, to_json(claim)) for claim in claims) == claims


def test_every_model_file_and_the_published_counts_are_shipped() -> None:
    names = [path.name for path in shipped_files()]
    beside_the_models = sorted(path.name for path in (Path(__file__).parents[2] / "models").glob("*.toml"))
    assert names == [*beside_the_models, "axes.toml", "published.toml"]
    assert beside_the_models


CASES = {
    "unknown key of a claim": (CLAIM + "tolerence = 0.1", "unknown key 'tolerence'; did you mean 'tolerance'?"),
    "unknown key far from any": (CLAIM + "qqq = 0.1", "unknown key 'qqq'; known are id, model, layer"),
    "unknown table": ("[[claims]]\n", "unknown key 'claims'; did you mean 'claim'?"),
    "unknown key of an erratum": (CLAIM + "erratum = { mesured = 1, reason = 'r' }", "did you mean 'measured'?"),
    "no claims": ("", "no claim found; write each as a [[claim]] or a [[ratio]] table"),
    "claim is a table": ("[claim]\nid = 'a'", "no claim found"),
    "claim is a number": ("claim = [3]", "unknown key 'claim'"),
    "erratum is a number": (CLAIM + "erratum = 3", "erratum needs a table, found 3"),
    "no id": ("[[claim]]\nquantity = 'parameters'\nvalue = 1", "claim 1: has no 'id'; add it"),
    "no quantity": ("[[claim]]\nid = 'a'\nvalue = 1", "claim 1 (a): has no 'quantity'; add it"),
    "no value": ("[[claim]]\nid = 'a'\nquantity = 'parameters'", "claim 1 (a): has no 'value'; add it"),
    "id is a number": ("[[claim]]\nid = 3", "id needs text, found 3"),
    "value is text": (CLAIM.replace("896", "'896'"), "value needs a number from 0 up, found '896'"),
    "value is a truth": (CLAIM.replace("896", "true"), "value needs a number from 0 up, found True"),
    "value is negative": (CLAIM.replace("896", "-896"), "value needs a number from 0 up, found -896"),
    "value is nan": (CLAIM.replace("896", "nan"), "value needs a number from 0 up, found nan"),
    "value is a shape": (CLAIM.replace("896", "[1, 2]"), "value needs a number from 0 up, found [1, 2]"),
    "shape is a number": (CLAIM.replace("parameters", "output_shape"), "value needs a shape like"),
    "unknown quantity": (
        CLAIM.replace("parameters", "parameter"),
        "unknown quantity 'parameter'; did you mean 'parameters'?",
    ),
    "quantity needs a layer": (CLAIM.replace("parameters", "kernel_weights"), "is of one layer; add `layer`"),
    "duplicate id": (CLAIM + CLAIM, "claim 2: the id 'a' is taken"),
    "negative tolerance": (CLAIM + "tolerance = -1", "tolerance needs a number from 0 up, found -1"),
    "tolerance is text": (CLAIM + "tolerance = '1 %'", "tolerance needs a number from 0 up, found '1 %'"),
    "two tolerances": (CLAIM + "tolerance = 1\nrounded_to = 1", "both tolerance and rounded_to; keep one"),
    "zero rounded": (CLAIM.replace("896", "0") + "rounded_to = 1", "makes no sense for 0"),
    "input shape with a batch": (CLAIM + "input_shape = ['B', 3]", "input_shape needs one example's shape"),
    "layer of no other model": (CLAIM + "relative_layer = 'x'", "relative_layer needs relative_to"),
    "erratum without a reason": (CLAIM + "erratum = { measured = 1 }", "erratum: has no 'reason'; add it"),
    "erratum without a value": (CLAIM + "erratum = { reason = 'r' }", "erratum: has no 'measured'; add it"),
    "erratum that agrees": (
        CLAIM + ERRATUM.format(896),
        "measured agrees with the documented value; remove the erratum",
    ),
    "erratum within the tolerance": (
        CLAIM + "tolerance = 0.1\n" + ERRATUM.format(900),
        "measured agrees with the documented value",
    ),
    "ratio of shapes": (
        "[[claim]]\nid = 'a'\nquantity = 'output_shape'\nvalue = 1\nrelative_to = 'x'",
        "is a shape and has no ratio; compare output_elements",
    ),
    "shape with a tolerance": (
        "[[claim]]\nid = 'a'\nquantity = 'output_shape'\nvalue = [1]\ntolerance = 0.1",
        "a shape is exact; remove tolerance",
    ),
}


@pytest.mark.parametrize(("text", "said"), CASES.values(), ids=CASES)
def test_what_makes_no_sense_is_refused_in_one_line(text: str, said: str, written: Path) -> None:
    written.write_text(DOCUMENT + text)
    with pytest.raises(UsageError) as caught:
        load(written)
    message = str(caught.value)
    assert said in message
    assert message.startswith(str(written))
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "[document] is missing"),
        ("document = 3", "[document] needs a table, found 3"),
        ("[document]\n" + CLAIM, "[document]: has no 'title'; add it"),
        ('[document]\ntitle = "t"\nurl = "u"\n' + CLAIM, "[document]: unknown key 'url'"),
        ('[document]\ntitle = "t"\n' + CLAIM, "claim 1 (a): names no model; add `model`"),
        ('[document]\ntitle = "t"\nvalue = = 3\n', "is not TOML: Invalid value (at line 3"),
    ],
)
def test_a_bad_head_of_a_file_is_refused(text: str, said: str, written: Path) -> None:
    written.write_text(text)
    with pytest.raises(UsageError) as caught:
        load(written)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such claim file"):
        load(tmp_path / "none.toml")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path)


def test_a_binary_file_is_not_toml(written: Path) -> None:
    written.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not UTF-8"):
        load(written)


@given(
    st.sampled_from([name for name, quantity in QUANTITIES.items() if not quantity.is_shape]),
    st.one_of(st.integers(1, 2**62), st.floats(1e-6, 1e18)),
    st.text(st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters='"\\'), min_size=1).filter(
        str.strip
    ),
)
def test_any_number_and_name_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, quantity: str, value: float, name: str
) -> None:
    path = tmp_path_factory.mktemp("claims") / "claims.toml"
    path.write_text(
        f'{DOCUMENT}[[claim]]\nid = "{name}"\nlayer = "x"\nquantity = "{quantity}"\nvalue = {value!r}\n',
        encoding="utf-8",
    )
    (claim,) = load(path)
    assert (claim.id, claim.quantity, claim.value, type(claim.value)) == (name, quantity, value, type(value))
