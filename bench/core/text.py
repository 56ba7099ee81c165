"""Text from outside made harmless: names and messages are shown, never obeyed."""

from __future__ import annotations

import unicodedata


def plain(text: str) -> str:
    """Make one printable line: line breaks become spaces, control and invisible characters are spelled out.

    Model names and error messages come from outside: they must not break a table, nor command a terminal, nor a file
    format that forbids control characters (XML).
    """
    line = " ".join(text.split())
    return "".join(c if unicodedata.category(c)[0] != "C" else c.encode("unicode_escape").decode() for c in line)
