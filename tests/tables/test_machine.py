from __future__ import annotations

from dataclasses import replace

from bench.tables.figures import display_width
from bench.tables.machine import peaks_document
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
