"""Sweeps from Python values: what `bench.run(...)` and the pytest mark take, with the suite file's names and checks."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

from bench.core.errors import SuiteError
from bench.core.record import Sampling
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
            values[name] = None if given is None else parse_shape(given)
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


def sampling_of(base: Sampling, **values: Any) -> Sampling:
    """Change fields of a Sampling, each checked: a number, positive, and whole where it counts something.

    Raises:
        SuiteError: A field is unknown or a value makes no sense.
    """
    defaults: dict[str, int | float] = {field.name: getattr(Sampling(), field.name) for field in fields(Sampling)}
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in defaults:
            raise SuiteError(f"[sampling] has an unknown key {name!r}. {suggest(name, defaults)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise SuiteError(f"sampling.{name} must be a number, found {value!r}")
        if isinstance(defaults[name], int) and value != int(value):
            raise SuiteError(f"sampling.{name} must be a whole number, found {value!r}")
        if value < 0 or (value == 0 and defaults[name] != 0):
            raise SuiteError(f"sampling.{name} must be more than 0, found {value!r}")
        changes[name] = type(defaults[name])(value)
    return replace(base, **changes)
