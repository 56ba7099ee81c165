"""Every precision has a row, and what has none is refused, never measured under its name."""

from __future__ import annotations

import pytest

from bench.core import precision as table
from bench.core.cell import Cell, Precision
from bench.core.errors import BenchError
from bench.core.precision import PRECISIONS, row_of
from bench.device.step import prepare
from bench.registry import resolve


def test_every_precision_has_a_row_and_a_colour_of_its_own() -> None:
    assert set(PRECISIONS) == set(Precision)
    assert len({row.color for row in PRECISIONS.values()}) == len(PRECISIONS)
    for row in PRECISIONS.values():
        assert row.casts_to is None or row.autocasts_to is None


def test_a_precision_without_a_row_is_refused_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {precision: row for precision, row in PRECISIONS.items() if precision is not Precision.BF16}
    monkeypatch.setattr(table, "PRECISIONS", rows)
    with pytest.raises(BenchError, match=r"precision 'bf16' has no row .* fp32, bf16-amp, fp16-amp, tf32"):
        row_of(Precision.BF16)
    cell = Cell(model="mlp", batch_size=2, precision=Precision.BF16)
    with pytest.raises(BenchError, match="has no row"), prepare(resolve("mlp"), cell):
        pass
