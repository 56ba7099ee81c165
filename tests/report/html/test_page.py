from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from bench.report.html.contract import Section, make_data
from bench.report.html.page import embedded, render, verbatim, with_code
from bench.tables.document import Block, Dot, Dots, Doubts, Heading, Notes, Place, Rows, Text, Verbatim, Verdict
from bench.tables.table import Column

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


def page_of(*blocks: Block) -> str:
    section = Section(anchor="t", title="T", build=lambda _: {"blocks": blocks}, template="document.html")
    return render(make_data(()), sections=(section,))


def test_noise_stands_beside_its_figure_and_a_unit_without_a_name_is_the_name() -> None:
    step = Column(name="best quads", unit="ms", cells=("12.1", "9.0"), noise=("± 0.4", ""))
    rate = Column(name="", unit="GFLOPs", cells=("1", "2"), right=False)
    page = page_of(Rows(columns=[step, rate], styles={1: "yellow"}, total=True))
    assert '<th scope="col" class="right">best quads <span class="unit">ms</span></th>' in page
    assert '<th scope="col">GFLOPs</th>' in page
    assert '<th scope="row" class="right">12.1<span class="noise">± 0.4</span></th>' in page
    assert '<th scope="row" class="right">9.0<span class="noise"></span></th>' in page  # figures stay below each other
    assert page.count('<tr class="doubt">') == 1


def test_every_block_of_a_document_is_shown_but_a_place_and_nothing_is_markup() -> None:
    evil = "<b>x</b>"
    dots = Dots(caption="c", ticks=(0.5, 1.0, 2.0), rows=[Dot(name=evil, text="1.00", value=1.0, style="bold")])
    drawing = Verbatim(lines=lambda page: [f"  {evil} {page.width}"])
    texts = [Heading(text=evil), Verdict(text=evil), Text(text=evil), Text(text=""), Place(text="/secret")]
    lists = [Notes(lines=[evil]), Notes(lines=[]), Doubts(sentences=[("N", evil)])]
    page = page_of(*texts, *lists, drawing, dots)
    assert evil not in page and "/secret" not in page
    assert page.count("&lt;b&gt;x&lt;/b&gt;") == 7
    assert "<pre><code>&lt;b&gt;x&lt;/b&gt; 100</code></pre>" in page
    assert '<tr class="whole">' in page and '<line class="one" x1="50.00%"' in page


def test_a_block_that_the_page_has_no_words_for_is_an_error() -> None:
    class Odd(Block):
        pass

    with pytest.raises(UndefinedError):
        page_of(Odd())
