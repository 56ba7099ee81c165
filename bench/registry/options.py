"""Options of a model spec, text to values."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bench.core.errors import ModelError
from bench.registry.suggest import did_you_mean

_BOOLS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_OPTIONAL = re.compile(r"(?:typing\.)?Optional\[(.+)\]")


def _to_bool(text: str) -> bool:
    if text.lower() not in _BOOLS:
        raise ValueError(text)
    return _BOOLS[text.lower()]


_READERS: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("bool", "a bool (true or false)", _to_bool),
    ("int", "an int", int),
    ("float", "a float", float),
)


def convert_options(spec: str, options: Iterable[tuple[str, str]], annotations: Mapping[str, str]) -> dict[str, Any]:
    """Turn options into values of the annotated types.

    Args:
        spec: The whole model spec, for messages.
        options: Key and value as typed.
        annotations: Each known option with its type as source text; the empty text where it has none.

    Raises:
        ModelError: An option is unknown, or its value is not of its type.
    """
    values: dict[str, Any] = {}
    for key, text in options:
        if key not in annotations:
            known = ", ".join(annotations) or "none"
            raise ModelError(
                f"model {spec!r} has no option {key!r}.{did_you_mean(key, annotations)} Its options: {known}."
            )
        try:
            values[key] = convert(text, annotations[key])
        except ValueError as error:
            raise ModelError(f"model {spec!r}: option {key}={text} is not {error}") from None
    return values


def convert(text: str, annotation: str) -> Any:
    """Turn text into a value of a type written as source: `int`, `float`, `bool`, `str`, each also `| None`.

    Any other type takes the text as a literal (`convert_literal`).

    Raises:
        ValueError: It is not of the type; the message is the type in words.
    """
    annotation = annotation.replace(" ", "").strip("'\"")
    optional = _OPTIONAL.fullmatch(annotation)
    parts = (optional[1] + "|None" if optional else annotation).split("|")
    if "None" in parts and text.lower() == "none":
        return None
    kinds = [part for part in parts if part != "None"]
    for kind, article, read in _READERS:
        if kind in kinds:
            try:
                return read(text)
            except ValueError:
                if len(kinds) == 1:
                    raise ValueError(article + (" or none" if "None" in parts else "")) from None
    return text if "str" in kinds else convert_literal(text)


def convert_literal(text: str) -> int | float | bool | str | None:
    """Read an int, a float, `true`, `false` or `none` if the text is one; else keep the text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.lower() == "none":
        return None
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        return float(text)
    return text
