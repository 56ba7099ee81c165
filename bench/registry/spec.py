"""The grammar of a model spec: `reference[@key=value[,key=value]...]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from bench.core.errors import ModelError

_OPTIONS = re.compile(r"@(?=[A-Za-z_]\w*=)")  # the first @ before `key=`, so that a path may hold an @


class Kind(Enum):
    """Where a reference is looked up."""

    NAME = "name"
    TORCHVISION = "torchvision"
    TRANSFORMERS = "transformers"
    MODULE = "module"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A parsed model spec.

    Attributes:
        text: As typed.
        place: The name, the torchvision model, the Hugging Face model type, the dotted module or the file's path.
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
    reference, *rest = _OPTIONS.split(text, maxsplit=1)
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
    if place == "torchvision":
        return Spec(text=text, kind=Kind.TORCHVISION, place=attribute, options=options)
    if place == "transformers":
        return Spec(text=text, kind=Kind.TRANSFORMERS, place=attribute, options=options)
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
            raise ModelError(f"model spec {text!r} sets {key!r} twice")
        pairs[key] = value
    return tuple(pairs.items())


def _is_path(place: str) -> bool:
    if place.endswith(".py") or "/" in place:
        return True
    try:
        return Path(place).is_file()
    except OSError:  # longer than the name of a file may be
        return False
