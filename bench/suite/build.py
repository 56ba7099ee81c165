"""Sweeps from Python values: what `bench.run(...)` and the pytest mark take, with the suite file's names and checks."""

from __future__ import annotations

from typing import Any

from bench.core.errors import SuiteError
from bench.suite.axes import AXES, parse_shape, suggest
from bench.suite.sweep import Sweep


def axes_of(**axes: Any) -> dict[str, Any]:
    """Read axes by their names in a suite file, each a value or a list, into fields of `Sweep`.

    Raises:
        SuiteError: An axis is unknown or a value makes no sense.
    """
    values: dict[str, Any] = {}
    for name, given in axes.items():
        if name == "input_shape":
            values[name] = parse_shape(given) if isinstance(given, str) else None if given is None else tuple(given)
            continue
        if name not in AXES:
            raise SuiteError(f"no axis named {name!r}. {suggest(name, [*AXES, 'input_shape'])}")
        values[AXES[name].field] = AXES[name].read_all(given)
    return values


def sweep_of(*, models: Any, **axes: Any) -> Sweep:
    """Make a sweep of these models over these axes.

    Raises:
        SuiteError: As `axes_of`.
    """
    return Sweep(**axes_of(model=models, **axes))
