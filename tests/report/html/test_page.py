from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.html.page import embedded, verbatim, with_code

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_embedded_data_reads_back_and_holds_nothing_that_html_could_see(value: object) -> None:
    text = embedded(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert not set(text) & set("<>&")


@pytest.mark.parametrize("text", ["</script>", "<!--", "]]>", "\u2028\u2029", "\udcff", "&lt;/script>"])
def test_what_ends_a_script_does_not_survive(text: str) -> None:
    assert text not in embedded([text])
    assert json.loads(embedded([text])) == [text]


def test_what_was_not_measured_is_none_and_never_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        embedded([float("nan")])


@pytest.mark.parametrize("text", ["a</style>", "x = '</SCRIPT>'", "<!-- x"])
def test_our_own_files_may_not_end_their_element(text: str) -> None:
    with pytest.raises(ValueError, match="write it another way"):
        verbatim(text)


def test_backticks_become_code_and_everything_is_escaped_first() -> None:
    assert with_code("`bench count` says <b>why</b>") == "<code>bench count</code> says &lt;b&gt;why&lt;/b&gt;"
    assert with_code("`<script>`") == "<code>&lt;script&gt;</code>"
    assert with_code("a ` alone") == "a ` alone"
