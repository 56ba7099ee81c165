"""Text from outside made harmless: names and messages are shown, never obeyed.

Did-you-mean: the nearest known word to a misspelt one.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

LONGEST = 4000
"""Characters of a text from outside in any format; commands that we print are shorter."""

SPEC_OPTIONS = re.compile(r"@(?=[A-Za-z_]\w*=)")
"""Where the options of a model spec begin: the first @ before `key=`, so that a path may hold an @."""

_CUT = re.compile(r"… \([\d,]+ characters\)$")


def plain(text: str, limit: int = LONGEST) -> str:
    """Make one printable line of bounded length: every format and every message passes texts from outside through here.

    Model names and error messages come from outside: they must not break a table, nor command a terminal, nor a file
    format that forbids control characters (XML), nor fill a page. Line breaks become spaces, control and invisible
    characters are spelled out, and what is cut says how long it was.
    """
    if text.isascii() and text.isprintable() and len(text) <= limit:
        return " ".join(text.split())  # names, a million of them in a report
    line = " ".join(text[: 4 * limit].split())  # what lies far behind the limit is never looked at
    line = "".join(c if unicodedata.category(c)[0] != "C" else c.encode("unicode_escape").decode() for c in line)
    if len(line) <= limit and len(text) <= 4 * limit:
        return line
    said = _CUT.search(text)  # it was cut before, and says how long it once was
    end = said[0] if said else f"… ({len(text):,} characters)"
    return f"{line[: limit - len(end)]}{end}"


def with_option(model: str, key: str, value: object) -> str:
    """Write an option into a model spec, in the place of the same one's other value if there is one."""
    reference, *rest = SPEC_OPTIONS.split(model, maxsplit=1)
    pairs = rest[0].split(",") if rest else []
    written = f"{key}={value}"
    options = [written if pair.startswith(f"{key}=") else pair for pair in pairs]
    return f"{reference}@{','.join(options if written in options else [*options, written])}"


def choices(values: Iterable[str], last: str = ",", quote: str = "`") -> str:
    """Write values as words: "`train`, `infer`", or with ` or` before the last."""
    *others, end = (f"{quote}{value}{quote}" for value in values)
    return f"{', '.join(others)}{last} {end}" if others else end


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most like `word`, or None if none is alike."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` with the nearest known word, or the empty string."""
    match = nearest(word, known)
    return f" Did you mean '{match}'?" if match else ""


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `Did you mean 'x'? Use one of: x, y`, or the list alone."""
    options = list(known)
    return f"{did_you_mean(word, options)} Use one of: {', '.join(options)}".lstrip()


def one_line(error: BaseException) -> str:
    """Print an exception as `ValueError: what it says` on one line."""
    text = plain(str(error), 300)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def input_hint(error: BaseException) -> str:
    """Describe what to feed a model whose embedding raised this error, as a sentence to stand before it; else nothing.

    The embedding is found in the frames of the traceback, so nothing here knows torch.
    """
    frame = error.__traceback__
    while frame is not None:
        rows = getattr(frame.tb_frame.f_locals.get("self"), "__dict__", {}).get("num_embeddings")
        if isinstance(rows, int) and ("'indices'" in str(error) or "index out of range" in str(error)):
            return f"this model expects token ids below {rows}, for example --input int64:128:0..{rows}. "
        frame = frame.tb_next
    return ""
