"""What each precision means: one row each, read by whatever offers, prepares, counts, predicts, measures or shows it.

A row is the name, too: there is no precision without a row, so that nothing is measured under a name that means
nothing. What a kind of device needs for an arithmetic stands in `device/`; an arithmetic it does not list it refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_TYPES = {"float64": (8, "Double"), "float32": (4, "Float"), "bfloat16": (2, "BFloat16"), "float16": (2, "Half")}
"""Of each type of torch: bytes of a value, and the name in torch's messages."""


class Arithmetic(StrEnum):
    """What a matrix product computes in; several precisions of a cell share one."""

    FP32 = "fp32"
    TF32 = "tf32"
    BF16 = "bf16"
    FP16 = "fp16"
    FP64 = "fp64"
    FP8 = "fp8"  # no precision of a cell computes in it: peaks only


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
        return _TYPES[self.casts_to or "float32"][0]

    @property
    def product_type(self) -> str:
        """Name of torch's dtype of what a matrix product returns."""
        return self.casts_to or self.autocasts_to or "float32"

    @property
    def activation_bytes(self) -> int:
        """Bytes of one value that a matrix product returns."""
        return _TYPES[self.product_type][0]


class Precision(StrEnum):
    """How the step computes. `amp` is autocast (with a GradScaler for fp16); without it the whole model is cast."""

    row: PrecisionRow

    def __new__(cls, name: str, row: PrecisionRow | None = None) -> Precision:
        """Make a member of its row; called with a name alone, the enum finds the member."""
        assert row is not None
        member = str.__new__(cls, name)
        member._value_ = name
        member.row = row
        return member

    FP32 = "fp32", PrecisionRow(arithmetic=Arithmetic.FP32, color=0)
    TF32 = "tf32", PrecisionRow(arithmetic=Arithmetic.TF32, color=5)
    BF16_AMP = "bf16-amp", PrecisionRow(arithmetic=Arithmetic.BF16, color=1, autocasts_to="bfloat16")
    FP16_AMP = "fp16-amp", PrecisionRow(arithmetic=Arithmetic.FP16, color=2, autocasts_to="float16", is_scaled=True)
    BF16 = "bf16", PrecisionRow(arithmetic=Arithmetic.BF16, color=3, casts_to="bfloat16")
    FP16 = "fp16", PrecisionRow(arithmetic=Arithmetic.FP16, color=6, casts_to="float16")
    FP64 = "fp64", PrecisionRow(arithmetic=Arithmetic.FP64, color=7, casts_to="float64")


def first_of(arithmetic: Arithmetic) -> Precision | None:
    """Return the first precision that computes in an arithmetic, which stands for it in tables; fp8 has none."""
    return next((precision for precision in Precision if precision.row.arithmetic is arithmetic), None)


NO_PRECISION = {
    "fp8": "is none that cells can be measured in: a model needs scales of its own for it (torchao); "
    "`bench machine peaks` measures what a GPU reaches in it. Use one of: " + ", ".join(Precision)
}
"""Names that people ask for and get a reason instead."""

UNUSUAL_TYPES = tuple(name for dtype, (_, name) in _TYPES.items() if dtype != "float32")
"""Types, as torch's messages name them, that only a precision brings into a model."""
