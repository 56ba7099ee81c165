"""Read claim files: strict TOML to `Claim` values; the format stands in the package's docstring.

Where the claim files that come with stepbench lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.claims.check import agree
from bench.claims.quantities import QUANTITIES
from bench.claims.reading import (
    entries,
    is_number,
    is_size,
    need_table,
    read_file,
    read_source,
    read_text,
    refuse_unknown_keys,
    suggest,
)
from bench.core.claim import Claim, ClaimValue, Erratum
from bench.core.errors import UsageError

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
    """Read the `[[claim]]` tables of a claim file; () where it holds ratios only.

    Raises:
        UsageError: The file is missing, is not TOML, or says something that makes no sense; one line that names the
            file, the claim, what was found and what would be right.
    """
    content, document = read_file(path)
    if not entries(content, "claim", f"{path}") and not entries(content, "ratio", f"{path}"):
        raise UsageError(f"{path}: no claim found; write each as a [[claim]] or a [[ratio]] table")
    claims: dict[str, Claim] = {}
    for number, entry in enumerate(entries(content, "claim", f"{path}"), start=1):
        claim = _claim(need_table(entry, f"{path}: claim {number}"), document, f"{path}: claim {number}")
        if claim.id in claims:
            raise UsageError(f"{path}: claim {number}: the id {claim.id!r} is taken; ids are unique in a file")
        claims[claim.id] = claim
    return tuple(claims.values())


def _claim(entry: Mapping[str, Any], document: Mapping[str, Any], where: str) -> Claim:
    refuse_unknown_keys(entry, _CLAIM_KEYS, where)
    claim_id = read_text(entry, "id", where, required=True)
    where = f"{where} ({claim_id})"
    model = read_text(entry, "model", where) or read_text(document, "model", f"{where}: [document]")
    if not model:
        raise UsageError(f"{where}: names no model; add `model` to the claim or to [document]")
    quantity = _quantity(entry, where)
    relative_to = read_text(entry, "relative_to", where)
    relative_layer = read_text(entry, "relative_layer", where)
    if relative_layer and not relative_to:
        raise UsageError(f"{where}: relative_layer needs relative_to; name the model, be it the same")
    value = _value(entry, "value", quantity, bool(relative_to), where)
    tolerance = _tolerance(entry, value, where)
    return Claim(
        id=claim_id,
        model=model,
        layer=read_text(entry, "layer", where) or None,
        quantity=quantity,
        value=value,
        relative_to=relative_to or None,
        relative_layer=relative_layer or None,
        input_shape=_input_shape(entry, where) or _input_shape(document, f"{where}: [document]"),
        scope=read_text(entry, "scope", where),
        tolerance=tolerance,
        source=read_source(entry, document, where),
        erratum=_erratum(entry, value, tolerance, quantity, bool(relative_to), where),
    )


def _quantity(entry: Mapping[str, Any], where: str) -> str:
    name = read_text(entry, "quantity", where, required=True)
    if name not in QUANTITIES:
        raise UsageError(f"{where}: unknown quantity {name!r}; {suggest(name, QUANTITIES)}")
    if QUANTITIES[name].needs_layer and not entry.get("layer"):
        raise UsageError(f"{where}: {name} is of one layer; add `layer`")
    if QUANTITIES[name].is_shape and "relative_to" in entry:
        raise UsageError(f"{where}: {name} is a shape and has no ratio; compare output_elements")
    return name


def _value(entry: Mapping[str, Any], key: str, quantity: str, is_ratio: bool, where: str) -> ClaimValue:
    if key not in entry:
        raise UsageError(f"{where}: has no {key!r}; add it")
    value = entry[key]
    if QUANTITIES[quantity].is_shape and not is_ratio:
        if not isinstance(value, list) or not value or not all(size == "B" or is_size(size) for size in value):
            raise UsageError(f'{where}: {key} needs a shape like ["B", 64, 24, 24], found {value!r}')
        return tuple(None if size == "B" else size for size in value)
    if not is_number(value) or value < 0:
        raise UsageError(f"{where}: {key} needs a number from 0 up, found {value!r}")
    return value  # type: ignore[no-any-return]


def _tolerance(entry: Mapping[str, Any], value: ClaimValue, where: str) -> float:
    """Read the relative tolerance, or derive it: a printed digit's unit lets the true value be half of it away."""
    if "tolerance" in entry and "rounded_to" in entry:
        raise UsageError(f"{where}: has both tolerance and rounded_to; keep one")
    for key in ("tolerance", "rounded_to"):
        if key in entry and (not is_number(entry[key]) or entry[key] < 0):
            raise UsageError(f"{where}: {key} needs a number from 0 up, found {entry[key]!r}")
        if entry.get(key) and isinstance(value, tuple):
            raise UsageError(f"{where}: a shape is exact; remove {key}")
    if entry.get("rounded_to") and not isinstance(value, tuple):
        if value == 0:
            raise UsageError(f"{where}: rounded_to makes no sense for 0; remove it")
        return float(entry["rounded_to"] / 2 / value)
    return float(entry.get("tolerance", 0.0))


def _erratum(
    entry: Mapping[str, Any], value: ClaimValue, tolerance: float, quantity: str, is_ratio: bool, where: str
) -> Erratum | None:
    if "erratum" not in entry:
        return None
    where = f"{where}: erratum"
    table = need_table(entry["erratum"], where)
    refuse_unknown_keys(table, _ERRATUM_KEYS, where)
    measured = _value(table, "measured", quantity, is_ratio, where)
    reason = read_text(table, "reason", where, required=True)
    if agree(value, measured, tolerance):
        raise UsageError(f"{where}: measured agrees with the documented value; remove the erratum")
    return Erratum(measured=measured, reason=reason)


def _input_shape(table: Mapping[str, Any], where: str) -> tuple[int, ...] | None:
    shape = table.get("input_shape")
    if shape is None:
        return None
    if not isinstance(shape, list) or not shape or not all(is_size(size) for size in shape):
        raise UsageError(f"{where}: input_shape needs one example's shape like [3, 224, 224], found {shape!r}")
    return tuple(shape)


def timm_file() -> Path:
    """Return where timm's published figures lie; they need timm, so they are no part of `shipped_files`."""
    return Path(__file__).with_name("timm.toml")


def shipped_files() -> tuple[Path, ...]:
    """List the claim files of the reference models, sorted, then `axes.toml` and `published.toml`; imports no model."""
    spec = find_spec("bench.models")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    of_models = sorted(path for folder in folders for path in Path(folder).glob("*.toml"))
    own = (Path(__file__).with_name(f"{name}.toml") for name in ("axes", "published"))
    return (*of_models, *own)
