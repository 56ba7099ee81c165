"""Whole lists of models: a part of each in `make test`, the rest in `make test-all`, or behind `-m thorough`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def parts(values: Iterable[Any], *, quick: int, ids: Callable[[Any], str] = str, rest: str = "slow") -> list[Any]:
    """Mark all but `quick` values, spread over the list, as `rest`: slow or thorough."""
    listed = list(values)
    every = {round(index * (len(listed) - 1) / max(1, quick - 1)) for index in range(quick)}
    mark = getattr(pytest.mark, rest)
    return [
        pytest.param(value, id=ids(value), marks=() if index in every else mark) for index, value in enumerate(listed)
    ]
