"""Read claim files: strict TOML to `Claim` values; the format stands in the package's docstring.

Where the claim files that come with stepbench lie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.claims.check import agree
from bench.claims.quantities import QUANTITIES
from bench.claims.ratios import RATIO_QUANTITIES
from bench.core.cell import Cell, Mode
from bench.core.claim import Claim, ClaimValue, Erratum, Relation
from bench.core.errors import UsageError
from bench.core.files import read_toml
from bench.core.text import nearest

_CLAIM_KEYS = (
    *("id", "model", "layer", "quantity", "value", "relative_to", "relative_layer", "input_shape"),
    *("scope", "tolerance", "rounded_to", "source", "erratum"),
)

_ERRATUM_KEYS = ("measured", "reason")


def load(path: str | Path) -> tuple[Claim, ...]:
    """Read the `[[claim]]` tables of a claim file; () where it holds ratios only.

    Raises:
        UsageError: The file is missing, is not TOML, or says something that makes no sense; one line that names the
            file, the claim, what was found and what would be right.
    """
    content, _ = read_file(path)
    if not entries(content, "claim", f"{path}") and not entries(content, "ratio", f"{path}"):
        raise UsageError(f"{path}: no claim found; write each as a [[claim]] or a [[ratio]] table")
    return _load(path, "claim", _claim)


def load_ratios(path: str | Path) -> tuple[Claim, ...]:
    """Read the `[[ratio]]` tables of a claim file; () where it has none.

    Raises:
        UsageError: See `load`.
    """
    return _load(path, "ratio", _ratio)


def _load(
    path: str | Path, kind: str, read: Callable[[Mapping[str, Any], Mapping[str, Any], str], Claim]
) -> tuple[Claim, ...]:
    content, document = read_file(path)
    claims: dict[str, Claim] = {}
    for number, entry in enumerate(entries(content, kind, f"{path}"), start=1):
        where = f"{path}: {kind} {number}"
        claim = read(need_table(entry, where), document, where)
        if claim.id in claims:
            raise UsageError(f"{where}: the id {claim.id!r} is taken; ids are unique in a file")
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


_RATIO_KEYS = (
    *("id", "quantity", "reference_quantity", "subject", "reference", "layer", "reference_layer"),
    *("documented", "below", "above", "tolerance", "mode", "batch_size", "optimizer", "scope", "source"),
)

_AXES = ("mode", "batch_size", "optimizer")

_CELL_KEYS = ("model", *_AXES)

_BATCH_SIZE = 8

_RELATIONS = {"documented": Relation.EQUAL, "below": Relation.BELOW, "above": Relation.ABOVE}


def _ratio(entry: Mapping[str, Any], document: Mapping[str, Any], where: str) -> Claim:
    refuse_unknown_keys(entry, _RATIO_KEYS, where)
    name = read_text(entry, "id", where, required=True)
    where = f"{where} ({name})"
    layer, quantity = read_text(entry, "layer", where) or None, _ratio_quantity(entry, "quantity", where)
    reference_layer = read_text(entry, "reference_layer", where) or layer
    other = _ratio_quantity(entry, "reference_quantity", where) if "reference_quantity" in entry else None
    if reference_layer and not (RATIO_QUANTITIES[quantity].of_layers and RATIO_QUANTITIES[other or quantity].of_layers):
        raise UsageError(f"{where}: {quantity} is of a whole step; remove the layer")
    if (RATIO_QUANTITIES[quantity].get is None) != (RATIO_QUANTITIES[other or quantity].get is None):
        raise UsageError(f"{where}: a time and a count have no ratio")
    relation, value = _ratio_value(entry, where)
    tolerance = entry.get("tolerance", 0)
    if not is_number(tolerance) or tolerance < 0:
        raise UsageError(f"{where}: tolerance needs a number from 0 up, found {tolerance!r}")
    if relation is Relation.EQUAL and RATIO_QUANTITIES[quantity].get is None and not tolerance:
        raise UsageError(f"{where}: no time is exact; add `tolerance`, or say `below` or `above`")
    cell, reference_cell = (_ratio_cell(entry, side, document, where) for side in ("subject", "reference"))
    return Claim(
        id=name,
        model=cell.model,
        layer=layer,
        quantity=quantity,
        value=value,
        relative_to=reference_cell.model,
        relative_layer=reference_layer,
        scope=read_text(entry, "scope", where),
        tolerance=float(tolerance),
        source=read_source(entry, document, where),
        relation=relation,
        cell=cell,
        reference_cell=reference_cell,
        reference_quantity=other,
    )


def _ratio_quantity(entry: Mapping[str, Any], key: str, where: str) -> str:
    name = read_text(entry, key, where, required=True)
    if name not in RATIO_QUANTITIES:
        raise UsageError(f"{where}: {key} {name!r} has no ratio; {suggest(name, RATIO_QUANTITIES)}")
    return name


def _ratio_value(entry: Mapping[str, Any], where: str) -> tuple[Relation, int | float]:
    given = [key for key in _RELATIONS if key in entry]
    if len(given) != 1:
        raise UsageError(f"{where}: needs one of `documented`, `below` and `above`, found {', '.join(given) or 'none'}")
    value = entry[given[0]]
    if isinstance(value, str):
        try:
            value = float(Fraction(value))
        except (ValueError, ZeroDivisionError):
            raise UsageError(f'{where}: {given[0]} needs a number or a fraction like "3/4", found {value!r}') from None
    if not is_number(value) or value <= 0:
        raise UsageError(f"{where}: {given[0]} needs a number above 0, found {value!r}")
    return _RELATIONS[given[0]], value


def _ratio_cell(entry: Mapping[str, Any], side: str, document: Mapping[str, Any], where: str) -> Cell:
    """Read one side: a model, or a table of a model and axes; axes of the ratio are those of both sides."""
    given = entry.get(side, {})
    own = {"model": given} if isinstance(given, str) else need_table(given, f"{where}: {side}")
    where = f"{where}: {side}"
    refuse_unknown_keys(own, _CELL_KEYS, where)
    model = read_text(own, "model", where) or read_text(document, "model", f"{where}: [document]")
    if not model:
        raise UsageError(f"{where}: names no model; add `model`")
    axes: dict[str, Any] = {key: table[key] for table in (entry, own) for key in _AXES if key in table}
    mode, batch_size = axes.get("mode", Mode.TRAIN.value), axes.get("batch_size", _BATCH_SIZE)
    if mode not in list(Mode):
        raise UsageError(f"{where}: mode needs train or infer, found {mode!r}")
    if not is_size(batch_size):
        raise UsageError(f"{where}: batch_size needs a whole number from 1 up, found {batch_size!r}")
    optimizer = read_text(axes, "optimizer", where) or None
    return Cell(model=model, mode=Mode(mode), batch_size=batch_size, optimizer=optimizer)


_FILE_KEYS = ("document", "claim", "ratio")
_DOCUMENT_KEYS = ("title", "place", "model", "input_shape")


def read_file(path: str | Path) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Read a claim file; return all of it, and its `[document]`.

    Raises:
        UsageError: It cannot be read, is not TOML, or has an unknown key.
    """
    content = _parse_toml(Path(path))
    refuse_unknown_keys(content, _FILE_KEYS, f"{path}")
    document = need_table(content.get("document"), f"{path}: [document]")
    refuse_unknown_keys(document, _DOCUMENT_KEYS, f"{path}: [document]")
    read_text(document, "title", f"{path}: [document]", required=True)
    return content, document


def _parse_toml(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such claim file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # its message ends in the line and column
        raise UsageError(f"{path}: is not TOML: {error}") from None


def need_table(value: Any, where: str) -> Mapping[str, Any]:
    """Return a TOML table.

    Raises:
        UsageError: It is missing or something else.
    """
    if value is None:
        raise UsageError(f"{where} is missing; a claim file starts with [document] and its title")
    if not isinstance(value, dict):
        raise UsageError(f"{where} needs a table, found {value!r}")
    return value


def entries(content: Mapping[str, Any], key: str, where: str) -> list[Any]:
    """Return the `[[key]]` tables of a file; none is an empty list.

    Raises:
        UsageError: The key holds something else.
    """
    value = content.get(key, [])
    if not isinstance(value, list):
        raise UsageError(f"{where}: no {key} found; write each as a [[{key}]] table")
    return value


def read_text(table: Mapping[str, Any], key: str, where: str, *, required: bool = False) -> str:
    """Return a text; empty where it is missing.

    Raises:
        UsageError: It is no text, or missing although required.
    """
    value = table.get(key, "")
    if not isinstance(value, str):
        raise UsageError(f"{where}: {key} needs text, found {value!r}")
    if required and not value.strip():
        raise UsageError(f"{where}: has no {key!r}; add it")
    return value


def read_source(entry: Mapping[str, Any], document: Mapping[str, Any], where: str) -> str:
    """Return the source of a claim: its own, or the document's title and place."""
    place = read_text(document, "place", f"{where}: [document]")
    return read_text(entry, "source", where) or ", ".join(filter(None, (document["title"], place)))


def refuse_unknown_keys(table: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Refuse a misspelt key.

    Raises:
        UsageError: There is one; the message suggests another.
    """
    for key in table:
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}; {suggest(key, known)}")


def suggest(name: str, known: Collection[str]) -> str:
    """Suggest what could have been meant."""
    close = nearest(name, known)
    return f"did you mean {close!r}?" if close else f"known are {', '.join(known)}"


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_size(value: Any) -> bool:
    """Whether a value is a whole number of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
