"""The whole page: sections in order, one style sheet, one script, and a policy that lets nothing else run.

Texts and data go into it so that nothing in them can end an element or begin another.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from bench.report.html.contract import ReportData, Section
from bench.tables.document import Verbatim
from bench.tables.figures import first, name, words
from bench.tables.table import Page

if TYPE_CHECKING:
    from jinja2 import Environment

_UNSAFE = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}
_TONES = {"red": "bad", "yellow": "doubt", "green": "good", "bold": "whole", "dim": "quiet"}
"""Class of a style of `bench.tables.document`."""


class Html(str):
    """A text that is already HTML, so that a template does not escape it again. Made in this file only."""

    __slots__ = ()

    def __html__(self) -> str:
        """Tell the template engine that this is HTML."""
        return self


def embedded(value: Any) -> Html:
    """Write plain values as JSON in pure ASCII without `<`, `>` and `&`.

    Inside a string these three stand as escapes, outside of strings JSON has none of them; line separators
    (U+2028) and lone surrogates are escapes too, because everything beyond ASCII is.

    Raises:
        ValueError: A number is not finite; what was not measured is None.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return Html(text.translate(_UNSAFE))


def with_code(text: str) -> Html:
    """Escape a text, then mark text between backticks as code."""
    return Html(re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text)))


def verbatim(text: str) -> Html:
    """Mark the text of our own style sheet or script as HTML, unescaped.

    Raises:
        ValueError: It would end its element.
    """
    if "</" in text.lower() or "<!--" in text:
        raise ValueError("a style sheet or script of the report holds '</' or '<!--'; write it another way")
    return Html(text)


def render(data: ReportData, *, made_by: str = "", sections: tuple[Section, ...] | None = None, title: str = "") -> str:
    """Write the report as one HTML document, with all sections unless some are named.

    `made_by`, the name and version of the program, stands at its foot; without a title it has the names of the runs.
    """
    from bench.report.html.sections import SECTIONS

    engine = _engine()
    shown = []
    for section in SECTIONS if sections is None else sections:
        values = section.build(data)
        if values is not None:
            body = engine.get_template(section.template or f"sections/{section.anchor}.html").render(**values)
            shown.append({"anchor": section.anchor, "title": section.title, "body": Html(body)})
    of = name(data.runs[0].id) if len(data.runs) == 1 else f"of {len(data.runs)} runs"
    return engine.get_template("page.html").render(
        title=title or f"Benchmark report {of}",
        sections=shown,
        style=_joined("css"),
        script=_joined("js"),
        policy=_policy(),
        made_by=made_by,
    )


@functools.cache
def _engine() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files("bench.report.html") / "templates"
    engine = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    engine.filters |= {
        "embedded": embedded,
        "px": _pixels,
        "code": with_code,
        "name": name,
        "words": words,
        "tone": lambda style: _TONES.get(style, ""),
        "kind": lambda block: type(block).__name__,
        "drawn": _drawn,
    }
    engine.globals["first"] = first
    return engine


def _pixels(value: float) -> str:
    """Write a coordinate: a tenth of a pixel is enough."""
    return f"{value:.1f}".removesuffix(".0")


def _drawn(block: Verbatim) -> str:
    return "\n".join(words(line.strip()) for line in block.drawn(Page(width=100)))


@functools.cache
def _joined(kind: str) -> Html:
    """Join all files of a kind in the order of their names."""
    found = sorted((file for file in (files("bench.report.html") / kind).iterdir()), key=lambda file: file.name)
    texts = [file.read_text(encoding="utf-8") for file in found if file.name.endswith(f".{kind}")]
    return verbatim("\n" + "\n".join(texts))


@functools.cache
def _policy() -> str:
    """Return the policy that allows our style sheet and script by their hashes, and no request of any kind."""
    return (
        f"default-src 'none'; style-src '{_hash(_joined('css'))}'; script-src '{_hash(_joined('js'))}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
