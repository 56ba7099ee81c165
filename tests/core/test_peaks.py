from __future__ import annotations

from dataclasses import replace

import pytest

from bench.core.cell import Precision
from bench.core.jsonio import from_json, to_json
from bench.core.peaks import Datasheet, Peaks, Probe, ProbeKind
from bench.core.precision import Arithmetic


def probe(kind: ProbeKind, best: float, arithmetic: Arithmetic | None = None) -> Probe:
    return Probe(
        kind=kind, arithmetic=arithmetic, size=4, work=8, best_per_second=best, median_per_second=best / 2, n=5
    )


PEAKS = Peaks(
    device="cuda:0",
    name="Test GPU",
    fingerprint="f" * 16,
    threads=2,
    probes=(
        probe(ProbeKind.MATMUL, 10.0, Arithmetic.FP32),
        probe(ProbeKind.MATMUL, 20.0, Arithmetic.FP32),
        probe(ProbeKind.MATMUL, 80.0, Arithmetic.BF16),
        probe(ProbeKind.COPY, 3.0),
        probe(ProbeKind.TRIAD, 4.0),
    ),
    skipped=((Arithmetic.TF32, "cannot"),),
    datasheet=Datasheet(
        device="Test GPU", flops_per_second=((Arithmetic.BF16, 100.0),), bytes_per_second=5.0, source="a sheet"
    ),
    measured_at="2026-11-23T00:00:00+00:00",
)


def test_the_roof_is_the_fastest_probe_of_the_cells_arithmetic() -> None:
    roof = PEAKS.over(Precision.FP32)
    assert (roof.flops_per_second, roof.bytes_per_second, roof.ridge) == (20.0, 4.0, 5.0)
    assert roof.documented_flops_per_second is None
    assert roof.documented_bytes_per_second == 5.0


def test_autocast_and_a_cast_model_share_a_roof() -> None:
    assert PEAKS.over(Precision.BF16_AMP) == PEAKS.over(Precision.BF16)
    assert PEAKS.over(Precision.BF16).documented_flops_per_second == 100.0


def test_what_was_not_probed_has_no_roof() -> None:
    roof = PEAKS.over(Precision.TF32)
    assert (roof.flops_per_second, roof.ridge) == (None, None)


def test_every_precision_has_an_arithmetic() -> None:
    for precision in Precision:
        PEAKS.over(precision)


def test_peaks_survive_json() -> None:
    assert from_json(Peaks, to_json(PEAKS)) == PEAKS


def measured(best: float, busy: float | None, moved: float = 4.0) -> Peaks:
    probes = (probe(ProbeKind.MATMUL, best, Arithmetic.FP32), probe(ProbeKind.TRIAD, moved))
    probes = tuple(replace(one, other_busy_cores=busy) for one in probes)
    return replace(PEAKS, probes=probes, other_busy_cores=busy)


@pytest.mark.parametrize(
    ("earlier", "later", "flops_per_second", "is_doubtful"),
    [
        (measured(10.0, 0.0), measured(20.0, 0.0), 20.0, False),
        (measured(20.0, 0.0), measured(10.0, 0.0), 20.0, False),
        (measured(10.0, 2.0), measured(20.0, 0.0), 20.0, False),
        (measured(10.0, 2.0), measured(20.0, 2.0), 20.0, True),
        (measured(20.0, 2.0), measured(10.0, 0.0), 20.0, False),  # a quiet machine did not beat it: it is not too low
        (measured(20.0, 0.0), measured(10.0, 2.0), 20.0, False),
        (replace(PEAKS, other_busy_cores=2.0), measured(9.0, 2.0), 20.0, True),  # written before probes had their own
        (replace(PEAKS, other_busy_cores=2.0), measured(9.0, None), 20.0, True),
    ],
)
def test_the_higher_peak_wins(earlier: Peaks, later: Peaks, flops_per_second: float, is_doubtful: bool) -> None:
    roof = later.over_earlier(earlier).over(Precision.FP32)
    assert (roof.flops_per_second, roof.is_doubtful) == (flops_per_second, is_doubtful)


def test_a_roof_is_doubted_for_either_of_its_probes() -> None:
    quiet_product = measured(10.0, 2.0).over_earlier(
        replace(PEAKS, probes=(probe(ProbeKind.MATMUL, 9.0, Arithmetic.FP32),))
    )
    assert quiet_product.over(Precision.FP32).is_doubtful
    assert not measured(10.0, 0.2).over(Precision.FP32).is_doubtful
    assert not PEAKS.over(Precision.FP32).is_doubtful


def test_what_was_probed_before_is_not_skipped() -> None:
    later = replace(measured(1.0, 0.0), skipped=((Arithmetic.BF16, "too slow"), (Arithmetic.TF32, "cannot")))
    joined = later.over_earlier(PEAKS)
    assert joined.skipped == ((Arithmetic.TF32, "cannot"),)
    assert joined.over(Precision.BF16).flops_per_second == 80.0
