"""Texts and data into HTML: nothing in them can end an element or begin another."""

from __future__ import annotations

import html
import json
import re
from typing import Any

_UNSAFE = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


class Html(str):
    """A text that is HTML already, so a template does not escape it again. Made in this file only."""

    __slots__ = ()

    def __html__(self) -> str:
        """Tell the template engine so."""
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
    """Escape a text, then set what stands between backticks as code."""
    return Html(re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text)))


def verbatim(text: str) -> Html:
    """Take the text of our own style sheet or script as it is.

    Raises:
        ValueError: It would end its element.
    """
    if "</" in text.lower() or "<!--" in text:
        raise ValueError("a style sheet or script of the report holds '</' or '<!--'; write it another way")
    return Html(text)
