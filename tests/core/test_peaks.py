from __future__ import annotations

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
