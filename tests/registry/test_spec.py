from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import ModelError
from bench.registry.spec import Kind, parse


@pytest.mark.parametrize(
    ("text", "kind", "place", "attribute", "options"),
    [
        ("my_net", Kind.NAME, "my_net", "", ()),
        ("mlp@activation=tanh,width=512", Kind.NAME, "mlp", "", (("activation", "tanh"), ("width", "512"))),
        ("torchvision:resnet18@num_classes=10", Kind.TORCHVISION, "resnet18", "", (("num_classes", "10"),)),
        ("package.module:make", Kind.MODULE, "package.module", "make", ()),
        ("package.module:Class.make@n=1", Kind.MODULE, "package.module", "Class.make", (("n", "1"),)),
        ("path/file.py:make", Kind.FILE, "path/file.py", "make", ()),
        ("file.py", Kind.FILE, "file.py", "", ()),
        ("C:/x@y/file.py:make@n=1", Kind.FILE, "C:/x@y/file.py", "make", (("n", "1"),)),
        ("a/b@c.py:f", Kind.FILE, "a/b@c.py", "f", ()),
        ("f.py:g@formula=a=b", Kind.FILE, "f.py", "g", (("formula", "a=b"),)),
    ],
)
def test_a_spec_is_split_into_its_parts(
    text: str, kind: Kind, place: str, attribute: str, options: tuple[tuple[str, str], ...]
) -> None:
    spec = parse(text)
    assert (spec.text, spec.kind, spec.place, spec.attribute, spec.options) == (text, kind, place, attribute, options)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no model"),
        ("@width=1", "names no model"),
        ("mlp@", "not key=value"),
        ("mlp@width", "not key=value"),
        ("mlp@width=", "'width=' is not key=value"),
        ("mlp@width=1,", "'' is not key=value"),
        ("mlp@width=1,depth", "'depth' is not key=value"),
        ("mlp@width=1,width=2", "sets 'width' twice"),
        ("package.module:", "not complete"),
        (":make", "not complete"),
        ("torchvision:", "not complete"),
        ("package.module:9lives", "not the name of a callable"),
    ],
)
def test_a_spec_that_is_none_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_there_is_a_file_whatever_its_suffix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse("notes.txt:make").kind is Kind.MODULE
    (tmp_path / "notes.txt").touch()
    assert parse("notes.txt:make").kind is Kind.FILE


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        spec = parse(text)
    except ModelError:
        return
    assert spec.text == text
    assert spec.place
