from __future__ import annotations

from dataclasses import replace

from bench.core.cell import Cell
from bench.core.fit import Fit, FitLimit, FittedCell, Probe, Verification
from bench.core.record import Outcome, PredictedPeak
from bench.tables.figures import display_width
from bench.tables.fit import fit_document
from tests.goldens import check_golden
from tests.pages import on_page

MIB = 2**20


def make_peak(total: int) -> PredictedPeak:
    return PredictedPeak(
        total_bytes=total,
        weights_bytes=36 * MIB,
        gradients_bytes=36 * MIB,
        optimizer_state_bytes=72 * MIB,
        inputs_bytes=2 * MIB,
        saved_activations_bytes=total - 156 * MIB,
        temporary_bytes=10 * MIB,
    )


FOUND = FittedCell(
    cell=Cell(model="my_net", batch_size=72),
    fit=Fit(
        batch_size=72,
        memory_bytes=300 * MIB,
        limited_by=FitLimit.MEMORY,
        probes=(
            Probe(batch_size=1, peak=make_peak(170 * MIB)),
            Probe(batch_size=72, peak=make_peak(299 * MIB)),
            Probe(batch_size=73, peak=make_peak(301 * MIB)),
        ),
        slope_bytes_per_example=1.8 * MIB,
        intercept_bytes=168.2 * MIB,
    ),
)
assert FOUND.fit is not None
NOTHING = FittedCell(
    cell=Cell(model="large", batch_size=1),
    fit=replace(FOUND.fit, batch_size=0, memory_bytes=100 * MIB, limited_by=FitLimit.MODEL),
)
BROKEN = FittedCell(cell=Cell(model="broken", batch_size=1), reason="ModelError: reads a value")


def verified(verification: Verification) -> FittedCell:
    return replace(FOUND, verification=verification)


EXACT = verified(Verification(live=make_peak(299 * MIB)))
OFF = verified(Verification(live=make_peak(302 * MIB), allocated_bytes=310 * MIB))
REFUSED = verified(Verification(outcome=Outcome.SKIPPED, reason="it needs 299 MiB, and cpu has 10.0 MiB free"))
FAILED = verified(Verification(outcome=Outcome.OUT_OF_MEMORY, reason="RuntimeError: can't allocate memory"))


def test_fits_look_as_they_did() -> None:
    tables = [
        on_page(fit_document([FOUND])),
        on_page(fit_document([FOUND, NOTHING, BROKEN], (("cpu", 333 * MIB),))),
        on_page(fit_document([EXACT, OFF, REFUSED, FAILED])),
        on_page(fit_document([EXACT]), 200),
    ]
    check_golden("fits.txt", "\n\n".join(tables) + "\n")


def test_the_causes_always_stand_whatever_the_width() -> None:
    for width in (60, 80, 200):
        text = on_page(fit_document([FOUND]), width)
        assert max(map(display_width, text.splitlines())) <= width
        joined = " ".join(text.split())
        for words in ("activations 143 MiB", "optimizer 72.0 MiB", "weights 36.0 MiB", "1.80 MiB per example from 168"):
            assert words in joined


def test_only_a_run_that_failed_or_held_too_much_refutes() -> None:
    assert [one.is_refuted for one in (FOUND, EXACT, REFUSED, OFF, FAILED)] == [False, False, False, True, True]
