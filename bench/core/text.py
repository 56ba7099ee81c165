"""Text from outside made harmless: names and messages are shown, never obeyed.

Did-you-mean: the nearest known word to a misspelt one.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable


def plain(text: str) -> str:
    """Make one printable line: line breaks become spaces, control and invisible characters are spelled out.

    Model names and error messages come from outside: they must not break a table, nor command a terminal, nor a file
    format that forbids control characters (XML).
    """
    line = " ".join(text.split())
    return "".join(c if unicodedata.category(c)[0] != "C" else c.encode("unicode_escape").decode() for c in line)


def choices(values: Iterable[str], last: str = ",", quote: str = "`") -> str:
    """Write values as words: "`train`, `infer`", or with ` or` before the last."""
    *others, end = (f"{quote}{value}{quote}" for value in values)
    return f"{', '.join(others)}{last} {end}" if others else end


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most like `word`, or None if none is alike."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` with the nearest known word, or the empty string."""
    match = nearest(word, known)
    return f" Did you mean '{match}'?" if match else ""


def one_line(error: BaseException, limit: int = 300) -> str:
    """Print an exception as `ValueError: what it says` on one line."""
    text = " ".join(str(error).split())
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def input_hint(error: BaseException) -> str:
    """Say what to feed a model whose embedding raised this error, as a sentence to stand before it; else nothing.

    The embedding is found in the frames of the traceback, so nothing here knows torch.
    """
    frame = error.__traceback__
    while frame is not None:
        rows = getattr(frame.tb_frame.f_locals.get("self"), "__dict__", {}).get("num_embeddings")
        if isinstance(rows, int) and ("'indices'" in str(error) or "index out of range" in str(error)):
            return f"this model expects token ids below {rows}, for example --input int64:128:0..{rows}. "
        frame = frame.tb_next
    return ""
