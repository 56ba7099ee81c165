"""Read claim files: strict TOML to `Claim` values; the format stands in the package's docstring."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from bench.claims.check import agree
from bench.claims.quantities import QUANTITIES
from bench.core.claim import Claim, ClaimValue, Erratum
from bench.core.errors import ClaimError

_FILE_KEYS = ("document", "claim")
_DOCUMENT_KEYS = ("title", "place", "model", "input_shape")
_CLAIM_KEYS = (
    "id",
    "model",
    "layer",
    "quantity",
    "value",
    "relative_to",
    "relative_layer",
    "input_shape",
    "scope",
    "tolerance",
    "rounded_to",
    "source",
    "erratum",
)
_ERRATUM_KEYS = ("measured", "reason")


def load(path: str | Path) -> tuple[Claim, ...]:
    """Read one claim file.

    Raises:
        ClaimError: The file is missing, is not TOML, or says something that makes no sense; one line that names the
            file, the claim, what was found and what would be right.
    """
    content = _parse(Path(path))
    _known_keys(content, _FILE_KEYS, f"{path}")
    document = _table(content.get("document"), f"{path}: [document]")
    _known_keys(document, _DOCUMENT_KEYS, f"{path}: [document]")
    _text(document, "title", f"{path}: [document]", required=True)
    entries = content.get("claim", [])
    if not isinstance(entries, list) or not entries:
        raise ClaimError(f"{path}: no claim found; write each as a [[claim]] table")
    claims: dict[str, Claim] = {}
    for number, entry in enumerate(entries, start=1):
        claim = _claim(_table(entry, f"{path}: claim {number}"), document, f"{path}: claim {number}")
        if claim.id in claims:
            raise ClaimError(f"{path}: claim {number}: the id {claim.id!r} is taken; ids are unique in a file")
        claims[claim.id] = claim
    return tuple(claims.values())


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ClaimError(f"{path}: no such claim file") from None
    except OSError as error:
        raise ClaimError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ClaimError(f"{path}: is not UTF-8 text; a claim file is TOML") from None
    except tomllib.TOMLDecodeError as error:  # its message ends in the line and column
        raise ClaimError(f"{path}: is not TOML: {_one_line(error)}") from None


def _claim(entry: Mapping[str, Any], document: Mapping[str, Any], where: str) -> Claim:
    _known_keys(entry, _CLAIM_KEYS, where)
    claim_id = _text(entry, "id", where, required=True)
    where = f"{where} ({claim_id})"
    model = _text(entry, "model", where) or _text(document, "model", f"{where}: [document]")
    if not model:
        raise ClaimError(f"{where}: names no model; add `model` to the claim or to [document]")
    quantity = _quantity(entry, where)
    relative_to = _text(entry, "relative_to", where)
    relative_layer = _text(entry, "relative_layer", where)
    if relative_layer and not relative_to:
        raise ClaimError(f"{where}: relative_layer needs relative_to; name the model, be it the same")
    value = _value(entry, "value", quantity, bool(relative_to), where)
    tolerance = _tolerance(entry, value, where)
    place = _text(document, "place", f"{where}: [document]")
    return Claim(
        id=claim_id,
        model=model,
        layer=_text(entry, "layer", where) or None,
        quantity=quantity,
        value=value,
        relative_to=relative_to or None,
        relative_layer=relative_layer or None,
        input_shape=_input_shape(entry, where) or _input_shape(document, f"{where}: [document]"),
        scope=_text(entry, "scope", where),
        tolerance=tolerance,
        source=_text(entry, "source", where) or ", ".join(filter(None, (document["title"], place))),
        erratum=_erratum(entry, value, tolerance, quantity, bool(relative_to), where),
    )


def _quantity(entry: Mapping[str, Any], where: str) -> str:
    name = _text(entry, "quantity", where, required=True)
    if name not in QUANTITIES:
        raise ClaimError(f"{where}: unknown quantity {name!r}; {_suggest(name, QUANTITIES)}")
    if QUANTITIES[name].needs_layer and not entry.get("layer"):
        raise ClaimError(f"{where}: {name} is of one layer; add `layer`")
    if QUANTITIES[name].is_shape and "relative_to" in entry:
        raise ClaimError(f"{where}: {name} is a shape and has no ratio; compare output_elements")
    return name


def _value(entry: Mapping[str, Any], key: str, quantity: str, is_ratio: bool, where: str) -> ClaimValue:
    if key not in entry:
        raise ClaimError(f"{where}: has no {key!r}; add it")
    value = entry[key]
    if QUANTITIES[quantity].is_shape and not is_ratio:
        if not isinstance(value, list) or not value or not all(size == "B" or _is_size(size) for size in value):
            raise ClaimError(f'{where}: {key} needs a shape like ["B", 64, 24, 24], found {value!r}')
        return tuple(None if size == "B" else size for size in value)
    if not _is_number(value) or value < 0:
        raise ClaimError(f"{where}: {key} needs a number from 0 up, found {value!r}")
    return value  # type: ignore[no-any-return]


def _tolerance(entry: Mapping[str, Any], value: ClaimValue, where: str) -> float:
    """Read the relative tolerance, or derive it: a printed digit's unit lets the true value be half of it away."""
    if "tolerance" in entry and "rounded_to" in entry:
        raise ClaimError(f"{where}: has both tolerance and rounded_to; keep one")
    for key in ("tolerance", "rounded_to"):
        if key in entry and (not _is_number(entry[key]) or entry[key] < 0):
            raise ClaimError(f"{where}: {key} needs a number from 0 up, found {entry[key]!r}")
        if entry.get(key) and isinstance(value, tuple):
            raise ClaimError(f"{where}: a shape is exact; remove {key}")
    if entry.get("rounded_to") and not isinstance(value, tuple):
        if value == 0:
            raise ClaimError(f"{where}: rounded_to makes no sense for 0; remove it")
        return float(entry["rounded_to"] / 2 / value)
    return float(entry.get("tolerance", 0.0))


def _erratum(
    entry: Mapping[str, Any], value: ClaimValue, tolerance: float, quantity: str, is_ratio: bool, where: str
) -> Erratum | None:
    if "erratum" not in entry:
        return None
    where = f"{where}: erratum"
    table = _table(entry["erratum"], where)
    _known_keys(table, _ERRATUM_KEYS, where)
    measured = _value(table, "measured", quantity, is_ratio, where)
    reason = _text(table, "reason", where, required=True)
    if agree(value, measured, tolerance):
        raise ClaimError(f"{where}: measured agrees with the documented value; remove the erratum")
    return Erratum(measured=measured, reason=reason)


def _input_shape(table: Mapping[str, Any], where: str) -> tuple[int, ...] | None:
    shape = table.get("input_shape")
    if shape is None:
        return None
    if not isinstance(shape, list) or not shape or not all(_is_size(size) for size in shape):
        raise ClaimError(f"{where}: input_shape needs one example's shape like [3, 224, 224], found {shape!r}")
    return tuple(shape)


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if value is None:
        raise ClaimError(f"{where} is missing; a claim file starts with [document] and its title")
    if not isinstance(value, dict):
        raise ClaimError(f"{where} needs a table, found {value!r}")
    return value


def _text(table: Mapping[str, Any], key: str, where: str, *, required: bool = False) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise ClaimError(f"{where}: {key} needs text, found {value!r}")
    if required and not value.strip():
        raise ClaimError(f"{where}: has no {key!r}; add it")
    return value


def _known_keys(table: Mapping[str, Any], known: Collection[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise ClaimError(f"{where}: unknown key {key!r}; {_suggest(key, known)}")


def _suggest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
