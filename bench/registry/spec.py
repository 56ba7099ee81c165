"""The grammar of a model spec: `reference[@key=value[,key=value]...]`.

Options of a model spec, text to values.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from bench.core.errors import ModelError
from bench.core.text import SPEC_OPTIONS, did_you_mean


class Kind(Enum):
    """Where a reference is looked up."""

    NAME = "name"
    TORCHVISION = "torchvision"
    TRANSFORMERS = "transformers"
    TIMM = "timm"
    MODULE = "module"
    FILE = "file"


LIBRARIES = (Kind.TORCHVISION, Kind.TRANSFORMERS, Kind.TIMM)
"""Packages whose models are built by their names there; a prefix in a spec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A parsed model spec.

    Attributes:
        text: Text as typed.
        place: The name, the model of torchvision or timm, the Hugging Face model type, the dotted module or the
            file's path.
        attribute: Dotted path of the callable in its module; empty for a name, and for a file given alone.
        options: Key and value as typed, in order.
    """

    text: str
    kind: Kind
    place: str
    attribute: str = ""
    options: tuple[tuple[str, str], ...] = ()


def parse(text: str) -> Spec:
    """Split a model spec into its parts; looks nothing up but whether a file is there.

    Raises:
        ModelError: The text does not follow the grammar.
    """
    reference, *rest = SPEC_OPTIONS.split(text, maxsplit=1)
    options = _parse_options(text, rest[0]) if rest else ()
    if not reference:
        raise ModelError(f"model spec {text!r} names no model; write for example 'my_net@classes=10'")
    place, colon, attribute = reference.rpartition(":")
    if not colon:
        kind = Kind.FILE if _is_path(reference) else Kind.NAME
        if kind is Kind.NAME and "@" in reference:
            raise ModelError(
                f"model spec {text!r} has options that are not key=value; write 'my_net@classes=10,dropout=0'"
            )
        return Spec(text=text, kind=kind, place=reference, options=options)
    if not place or not attribute:
        raise ModelError(
            f"model spec {text!r} is not complete; write 'package.module:callable' or 'path/file.py:callable'"
        )
    library = next((kind for kind in LIBRARIES if kind.value == place), None)
    if library is not None:
        return Spec(text=text, kind=library, place=attribute, options=options)
    kind = Kind.FILE if _is_path(place) else Kind.MODULE
    if not all(part.isidentifier() for part in attribute.split(".")):
        raise ModelError(f"model spec {text!r}: {attribute!r} is not the name of a callable")
    return Spec(text=text, kind=kind, place=place, attribute=attribute, options=options)


def _parse_options(text: str, options: str) -> tuple[tuple[str, str], ...]:
    pairs: dict[str, str] = {}
    for item in options.split(","):
        key, equals, value = item.partition("=")
        if not equals or not key.isidentifier() or not value:
            raise ModelError(f"model spec {text!r}: option {item!r} is not key=value")
        if key in pairs:
            raise ModelError(f"model spec {text!r} sets {key!r} twice; for two values name the model twice")
        pairs[key] = value
    return tuple(pairs.items())


def _is_path(place: str) -> bool:
    if place.endswith(".py") or "/" in place:
        return True
    try:
        return Path(place).is_file()
    except OSError:  # longer than the name of a file may be
        return False


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
    """Turn options as typed into values of the types that the known ones have as source text, empty for any.

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
