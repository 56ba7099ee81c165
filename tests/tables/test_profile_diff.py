from __future__ import annotations

import dataclasses

from bench.core.cell import Cell
from bench.core.profile import Change, ProfileDiff
from bench.tables.figures import display_width
from bench.tables.profile import diff_document
from tests.goldens import check_golden
from tests.pages import on_page

DIFF = ProfileDiff(
    before=Cell(model="net", batch_size=8),
    after=Cell(model="net@width=2", batch_size=8),
    before_seconds=0.010,
    after_seconds=0.016,
    layers=(
        Change(name="fc1", before=0.004, after=0.009, before_flops=10**9, after_flops=2 * 10**9),
        Change(name="new", before=None, after=0.0015, after_flops=10**8),
        Change(name="old", before=0.0005, after=None, before_flops=10**7),
        *(Change(name=f"layer{n}", before=0.0005, after=0.0005) for n in range(11)),
    ),
    operators=(Change(name="aten::mm", before=0.006, after=0.012), Change(name="aten::add", before=0.004, after=0.004)),
    noise_seconds=0.0005,
    doubts=("times of the host against times of the device",),
)


def test_differences_look_as_they_did() -> None:
    same = dataclasses.replace(DIFF, after=DIFF.before, after_seconds=0.0102, doubts=())
    check_golden("profile-diffs.txt", f"{on_page(diff_document(DIFF))}\n\n\n{on_page(diff_document(same))}\n")


def test_the_largest_change_is_named_first_and_small_ones_say_nothing() -> None:
    words = " ".join(on_page(diff_document(DIFF)).split())
    assert "Most of it: fc1." in words
    assert "only `bench ab` judges" in words
    small = dataclasses.replace(DIFF, after_seconds=0.0102)
    assert "this change is within the noise" in " ".join(on_page(diff_document(small)).split())


def test_no_line_is_wider_than_its_page() -> None:
    for width in (60, 80):
        assert max(map(display_width, on_page(diff_document(DIFF), width).splitlines())) <= width
