"""What each precision means: one row each, read by whatever prepares, counts, predicts, measures or shows a step.

A precision without a row is refused in words before anything runs, so that nothing is measured under its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from bench.core.cell import Precision
from bench.core.errors import UsageError

_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


class Arithmetic(StrEnum):
    """What a matrix product computes in; several precisions of a cell share one."""

    FP32 = "fp32"
    TF32 = "tf32"
    BF16 = "bf16"
    FP16 = "fp16"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionRow:
    """How a step computes in one precision.

    Attributes:
        arithmetic: What its matrix products compute in; how fast that can be, probes tell.
        color: Number of its colour in the charts of the report.
        casts_to: Name of torch's dtype that the whole model and its inputs are cast to; None if they stay fp32.
        autocasts_to: Name of torch's dtype of autocast; None without autocast.
        is_scaled: Whether a GradScaler guards the gradients of a training step.
    """

    arithmetic: Arithmetic
    color: int
    casts_to: str | None = None
    autocasts_to: str | None = None
    is_scaled: bool = False

    @property
    def weight_bytes(self) -> int:
        """Bytes of one weight, and of one gradient."""
        return _BYTES[self.casts_to or "float32"]

    @property
    def activation_bytes(self) -> int:
        """Bytes of one value that a matrix product returns."""
        return _BYTES[self.casts_to or self.autocasts_to or "float32"]


PRECISIONS: Mapping[Precision, PrecisionRow] = MappingProxyType(
    {
        Precision.FP32: PrecisionRow(arithmetic=Arithmetic.FP32, color=0),
        Precision.BF16_AMP: PrecisionRow(arithmetic=Arithmetic.BF16, color=1, autocasts_to="bfloat16"),
        Precision.FP16_AMP: PrecisionRow(arithmetic=Arithmetic.FP16, color=2, autocasts_to="float16", is_scaled=True),
        Precision.BF16: PrecisionRow(arithmetic=Arithmetic.BF16, color=3, casts_to="bfloat16"),
        Precision.TF32: PrecisionRow(arithmetic=Arithmetic.TF32, color=5),
    }
)


def row_of(precision: Precision) -> PrecisionRow:
    """Return what a precision means.

    Raises:
        UsageError: Nothing here knows it.
    """
    row = PRECISIONS.get(precision)
    if row is None:
        known = ", ".join(PRECISIONS)
        raise UsageError(f"precision {str(precision)!r} has no row in bench.core.precision; it has {known}")
    return row
