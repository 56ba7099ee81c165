"""Suite files: TOML that names the sweeps of a benchmark suite.

title = "Quick suite"

[sampling]                      # optional; fields of bench.core.record.Sampling
budget_seconds = 0.5

[[sweep]]                       # one or more; a single value or a list on every axis
model = ["my_net", "mlp@width=512"]
batch_size = [8, 32]
mode = "train"
device = "cpu"
precision = ["fp32", "bf16-amp"]

[[sweep.exclude]]               # leave out cells that match every line of an entry
model = "my_net"
precision = "bf16-amp"

[[sweep.include]]               # add single cells
model = "my_net"
batch_size = 256
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.cell import Cell
from bench.core.errors import UsageError
from bench.core.files import read_toml
from bench.core.record import Sampling
from bench.core.text import suggest
from bench.suite.axes import AXES, OTHER_NAMES, TYPED, axes_of, sampling_of
from bench.suite.sweep import Rule, Sweep, cell_of, refuse_idle


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A suite file, read and checked."""

    title: str
    sweeps: tuple[Sweep, ...]
    sampling: Sampling


def read_suite(path: Path) -> Suite:
    """Read a suite file; its `[sampling]` table changes the default sampling.

    Raises:
        UsageError: It cannot be read, is not TOML, or has an unknown key or a wrong value; the message names it.
    """
    try:
        data = read_toml(path)
    except OSError as error:
        raise UsageError(f"cannot read the suite file {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not a TOML suite file: {error}") from error
    try:
        return _suite(data, path.stem)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _suite(data: Mapping[str, Any], name: str) -> Suite:
    _check_keys(data, ("title", "sampling", "sweep"), "the suite")
    tables = data.get("sweep", [])
    if not isinstance(tables, list) or not tables:
        raise UsageError("a suite needs at least one [[sweep]] table")
    return Suite(
        title=str(data.get("title", name)),
        sweeps=tuple(_sweep(table) for table in tables),
        sampling=sampling_of(Sampling(), **_table(data.get("sampling", {}), "[sampling]")),
    )


def _sweep(data: Mapping[str, Any]) -> Sweep:
    _check_keys(data, (*TYPED, *OTHER_NAMES, "exclude", "include"), "[[sweep]]")
    if "model" not in data:
        raise UsageError("a [[sweep]] needs `model`, a name or a list of names")
    axes = {key: value for key, value in data.items() if key not in ("exclude", "include")}
    sweep = Sweep(
        axes=axes_of(**axes),
        exclude=tuple(_rules(table) for table in _tables(data.get("exclude", []), "[[sweep.exclude]]")),
        include=tuple(_cell(table) for table in _tables(data.get("include", []), "[[sweep.include]]")),
    )
    refuse_idle(sweep.axes, sweep.cells)
    return sweep


def _rules(data: Mapping[str, Any]) -> tuple[Rule, ...]:
    _check_keys(data, AXES, "[[sweep.exclude]]")
    if not data:
        raise UsageError("an empty [[sweep.exclude]] would leave nothing; name at least one axis")
    return tuple(Rule(axis=key, values=tuple(map(str, AXES[key].read_all(value)))) for key, value in data.items())


def _cell(data: Mapping[str, Any]) -> Cell:
    _check_keys(data, (*TYPED, *OTHER_NAMES), "[[sweep.include]]")
    for key in ("model", "batch_size"):
        if key not in data:
            raise UsageError(f"a [[sweep.include]] needs `{key}`")
    axes = axes_of(**data)
    cell = cell_of({name: _one(name, values) for name, values in axes.items()})
    refuse_idle(axes, lambda: [cell])
    return cell


def _one(name: str, values: tuple[Any, ...]) -> Any:
    if len(values) > 1:
        raise UsageError(f"a [[sweep.include]] is one cell; {name} has {len(values)} values")
    return values[0]


def _check_keys(data: Mapping[str, Any], known: Any, where: str) -> None:
    for key in _table(data, where):
        if key not in known:
            raise UsageError(f"{where} has an unknown key {key!r}. {suggest(key, known)}")


def _table(data: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise UsageError(f"{where} must be a table, found {data!r}")
    return data


def _tables(data: Any, where: str) -> list[Any]:
    if not isinstance(data, list):
        raise UsageError(f"{where} must be a list of tables, found {data!r}")
    return data
