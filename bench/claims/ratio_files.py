"""Read the `[[ratio]]` tables of claim files to `Claim` values; the format stands in the package docstring."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from bench.claims.ratios import RATIO_QUANTITIES
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
from bench.core.cell import Cell, Mode
from bench.core.claim import Claim, Relation
from bench.core.errors import UsageError

_KEYS = (
    *("id", "quantity", "reference_quantity", "subject", "reference", "layer", "reference_layer"),
    *("documented", "below", "above", "tolerance", "mode", "batch_size", "optimizer", "scope", "source"),
)
_AXES = ("mode", "batch_size", "optimizer")
_CELL_KEYS = ("model", *_AXES)
_BATCH_SIZE = 8
_RELATIONS = {"documented": Relation.EQUAL, "below": Relation.BELOW, "above": Relation.ABOVE}


def load_ratios(path: str | Path) -> tuple[Claim, ...]:
    """Read the `[[ratio]]` tables of a claim file; () where it has none.

    Raises:
        UsageError: The file cannot be read, or says something that makes no sense; one line that names the place.
    """
    content, document = read_file(path)
    ratios: dict[str, Claim] = {}
    for number, entry in enumerate(entries(content, "ratio", f"{path}"), start=1):
        ratio = _ratio(need_table(entry, f"{path}: ratio {number}"), document, f"{path}: ratio {number}")
        if ratio.id in ratios:
            raise UsageError(f"{path}: ratio {number}: the id {ratio.id!r} is taken; ids are unique in a file")
        ratios[ratio.id] = ratio
    return tuple(ratios.values())


def _ratio(entry: Mapping[str, Any], document: Mapping[str, Any], where: str) -> Claim:
    refuse_unknown_keys(entry, _KEYS, where)
    name = read_text(entry, "id", where, required=True)
    where = f"{where} ({name})"
    layer, quantity = read_text(entry, "layer", where) or None, _quantity(entry, "quantity", where)
    reference_layer = read_text(entry, "reference_layer", where) or layer
    other = _quantity(entry, "reference_quantity", where) if "reference_quantity" in entry else None
    if reference_layer and not (RATIO_QUANTITIES[quantity].of_layers and RATIO_QUANTITIES[other or quantity].of_layers):
        raise UsageError(f"{where}: {quantity} is of a whole step; remove the layer")
    if (RATIO_QUANTITIES[quantity].get is None) != (RATIO_QUANTITIES[other or quantity].get is None):
        raise UsageError(f"{where}: a time and a count have no ratio")
    relation, value = _documented(entry, where)
    tolerance = entry.get("tolerance", 0)
    if not is_number(tolerance) or tolerance < 0:
        raise UsageError(f"{where}: tolerance needs a number from 0 up, found {tolerance!r}")
    if relation is Relation.EQUAL and RATIO_QUANTITIES[quantity].get is None and not tolerance:
        raise UsageError(f"{where}: no time is exact; add `tolerance`, or say `below` or `above`")
    cell, reference_cell = (_cell(entry, side, document, where) for side in ("subject", "reference"))
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


def _quantity(entry: Mapping[str, Any], key: str, where: str) -> str:
    name = read_text(entry, key, where, required=True)
    if name not in RATIO_QUANTITIES:
        raise UsageError(f"{where}: {key} {name!r} has no ratio; {suggest(name, RATIO_QUANTITIES)}")
    return name


def _documented(entry: Mapping[str, Any], where: str) -> tuple[Relation, int | float]:
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


def _cell(entry: Mapping[str, Any], side: str, document: Mapping[str, Any], where: str) -> Cell:
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
