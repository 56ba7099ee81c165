from __future__ import annotations

from dataclasses import replace

from bench.core.comparison import CellNoise
from bench.tables.document import page_text
from bench.tables.figures import display_width
from bench.tables.machine import calibration_document, peaks_document
from bench.tables.table import Page
from tests.core.test_peaks import PEAKS
from tests.pages import on_page


def test_every_probe_is_a_row_beside_the_data_sheet() -> None:
    text = on_page(peaks_document(PEAKS))
    assert [line.split()[0] for line in text.splitlines() if line.startswith(("matmul", "copy", "triad"))] == [
        "matmul",
        "matmul",
        "matmul",
        "copy",
        "triad",
    ]
    assert "Ridge: fp32 5.00, bf16 20.0" in text
    assert "Not probed: tf32: cannot." in text
    assert "a sheet; dense" in text
    assert all(display_width(line) <= 80 for line in text.splitlines())


def test_an_unknown_device_says_that_no_data_sheet_is_known() -> None:
    text = on_page(peaks_document(replace(PEAKS, datasheet=None)))
    assert "none known for exactly this device" in text
    assert "reached" not in text


def test_a_busy_machine_is_said_to_measure_too_little() -> None:
    assert "kept 1.5 cores busy" in on_page(peaks_document(replace(PEAKS, other_busy_cores=1.5)))
    assert "busy" not in on_page(peaks_document(replace(PEAKS, other_busy_cores=0.1)))


def test_a_device_that_was_shared_or_hot_is_said_to_have_done_too_little() -> None:
    shared, hot = replace(PEAKS, other_processes=2), replace(PEAKS, throttle_reasons=("power", "thermal"))
    assert "Meanwhile others computed on the device" in on_page(peaks_document(shared))
    assert "Meanwhile the device lowered its clock (power, thermal)" in on_page(peaks_document(hot))
    assert "Meanwhile" not in on_page(peaks_document(replace(PEAKS, throttle_reasons=("power",))))  # how a GPU works


def test_ascii_is_enough() -> None:
    assert on_page(peaks_document(PEAKS), unicode=False).isascii()


def test_the_noise_of_cells_keeps_their_names_at_80_columns() -> None:
    noise = CellNoise(
        cell_id="net.py:Net/train/b8/cpu/fp32/64/t1",
        cell_key="k",
        sessions=14,
        quads=12,
        within=0.007,
        between=0.012,
        best_quads=64,
        detectable=((6, 0.023), (8, 0.021), (14, 0.021), (18, 0.02)),
        slot_shift=-0.002,
        slot_p=0.844,
    )
    narrow = page_text(calibration_document([noise]), Page(width=80))
    assert "net.py:Net/b8/64/t1" in narrow and "sees(18)" in narrow
    assert max(map(len, narrow.splitlines())) <= 80
    assert all(f"sees({most})" in page_text(calibration_document([noise]), Page(width=120)) for most in (6, 8, 14, 18))
