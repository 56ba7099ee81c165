"""Check what comes in: NaN, infinities and negative durations are errors, so no function computes with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def finite(values: Sequence[float] | Floats, what: str = "values") -> Floats:
    """Return `values` as a one-dimensional array of finite floats.

    Raises:
        ValueError: A value is NaN or infinite, or there is more than one dimension.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{what} need one dimension, found {array.ndim}")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise ValueError(f"{what} must be finite, found {array[bad[0]]} at index {bad[0]}")
    return array


def durations(seconds: Sequence[float] | Floats, what: str = "seconds") -> Floats:
    """Return `seconds` as an array of finite floats that are not negative.

    Raises:
        ValueError: A value is negative, NaN or infinite.
    """
    array = finite(seconds, what)
    bad = np.flatnonzero(array < 0)
    if bad.size:
        raise ValueError(f"{what} must not be negative, found {array[bad[0]]} at index {bad[0]}")
    return array


def fraction(value: float, what: str) -> float:
    """Return `value` if it lies strictly between 0 and 1.

    Raises:
        ValueError: It does not.
    """
    if not 0.0 < value < 1.0:
        raise ValueError(f"{what} must lie between 0 and 1, found {value}")
    return float(value)
