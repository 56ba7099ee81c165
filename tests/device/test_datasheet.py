from __future__ import annotations

import pytest

from bench.core.precision import Arithmetic
from bench.device.datasheet import _SHEETS, datasheet


@pytest.mark.parametrize("name", ["NVIDIA L4 ", "L4", "nvidia l4", "NVIDIA H100", "NVIDIA L400", "", "Test GPU"])
def test_only_the_exact_name_is_known(name: str) -> None:
    """A peer's "l4" matched an L40S (FACTS, section 4, defect 7)."""
    assert datasheet(name) is None


def test_neighbours_have_their_own_values() -> None:
    small, large = datasheet("NVIDIA L4"), datasheet("NVIDIA L40S")
    assert small is not None
    assert large is not None
    assert dict(small.flops_per_second)[Arithmetic.BF16] == 121e12
    assert dict(large.flops_per_second)[Arithmetic.BF16] == 362.05e12


@pytest.mark.parametrize("name", _SHEETS)
def test_rates_are_dense(name: str) -> None:
    """Tensor cores do bf16 at twice the rate of tf32; a sparse figure in one place would break that."""
    sheet = datasheet(name)
    assert sheet is not None
    rates = dict(sheet.flops_per_second)
    if Arithmetic.FP16 in rates:
        assert rates[Arithmetic.FP32] < rates[Arithmetic.FP16]
    if Arithmetic.BF16 in rates:
        assert rates[Arithmetic.BF16] == rates[Arithmetic.FP16]
        assert rates[Arithmetic.BF16] / rates[Arithmetic.TF32] == pytest.approx(2, rel=0.03)
        assert rates[Arithmetic.FP32] <= rates[Arithmetic.TF32]
    if Arithmetic.FP8 in rates:
        assert rates[Arithmetic.FP8] / rates[Arithmetic.BF16] == pytest.approx(2, rel=0.03)
    assert sheet.source
