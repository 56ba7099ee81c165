from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.cell import Mode, Precision
from bench.core.claim import ClaimVerdict
from bench.core.peaks import Peak
from bench.core.precision import Arithmetic
from bench.core.record import Counters, FlopCount, LayerCount, Opinion, Outcome, Phase, Record, Sample
from bench.tables.claims import claims_document
from bench.tables.figures import display_width
from bench.tables.parts import counts_document, layers_document
from bench.tables.run import cells_document, summary_line
from tests.goldens import check_golden
from tests.pages import on_page
from tests.records import STARTED_AT, make_claims, make_counters, make_layers, make_record, make_sweep

DETAILED = make_record(counters=replace(make_counters(uncounted=True), layers=make_layers()))
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("width", [80, 200])
def test_cells_look_as_they_did(width: int) -> None:
    check_golden(f"cells-{width}.txt", on_page(cells_document(make_sweep()), width) + "\n")


def test_cells_in_ascii_look_as_they_did() -> None:
    text = on_page(cells_document(make_sweep()), 80, unicode=False)
    assert text.isascii()
    check_golden("cells-ascii-80.txt", text + "\n")


def test_details_look_as_they_did() -> None:
    parts = [
        on_page(layers_document(DETAILED)),
        on_page(counts_document(make_sweep()[:14:2])),
        on_page(claims_document(make_claims())),
        on_page(claims_document(make_claims()), 140),
    ]
    check_golden("details-80.txt", "\n\n".join(parts) + "\n")


@pytest.mark.parametrize("width", [50, 60, 72, 79, 80, 81, 100, 120, 160, 200, 300])
@pytest.mark.parametrize("unicode", [True, False])
def test_no_line_is_wider_than_the_page(width: int, unicode: bool) -> None:
    for text in (
        on_page(cells_document(make_sweep()), width, unicode=unicode),
        on_page(cells_document(make_sweep()[::4]), width, unicode=unicode),
        on_page(layers_document(DETAILED), width, unicode=unicode),
        on_page(counts_document(make_sweep()), width, unicode=unicode)
        if width >= 72
        else "",  # exact figures do not shrink
        on_page(claims_document(make_claims()), width, unicode=unicode) if width >= 72 else "",
    ):
        too_wide = [line for line in text.splitlines() if display_width(line) > width]
        assert not too_wide


def test_a_note_with_wide_characters_fits_its_page() -> None:
    record = make_record(model="0" * 28 + "\u2e80\u2f00\U00018d09\U0001b2fc", batch_size=1, outcome=Outcome.SKIPPED)
    assert all(
        display_width(line) <= 80 for line in on_page(cells_document([make_record(model="0"), record]), 80).splitlines()
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.builds(
            make_record,
            model=st.text(min_size=1, max_size=60),
            batch_size=st.integers(1, 10**6),
            precision=st.sampled_from(Precision),
            step=st.one_of(st.none(), st.floats(1e-7, 1e4)),
            noise=st.floats(0, 0.9),
            n=st.integers(3, 12),
            mode=st.sampled_from(Mode),
            outcome=st.sampled_from(Outcome),
            reason=st.one_of(st.none(), st.text(max_size=300)),
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(80, 220),
    st.booleans(),
)
def test_whatever_is_in_the_records_every_cell_has_one_line_that_fits(
    records: list[Record], width: int, unicode: bool
) -> None:
    text = on_page(cells_document(records), width, unicode=unicode)
    assert all(display_width(line) <= width for line in text.splitlines())
    body = re.split(r"\n[─-]+\n", text)[1].split("\n\n")[0]
    precisions = "|".join(re.escape(precision.value) for precision in Precision)
    assert len([line for line in body.splitlines() if re.search(precisions, line)]) >= len(records)


def test_at_80_columns_everything_essential_is_there() -> None:
    header = on_page(cells_document(make_sweep()), 80).split("─")[0]
    for word in ("step", "fwd", "loss", "bwd", "opt", "examples", "GFLOPs", "peak"):
        assert word in header


def test_a_varying_axis_is_a_column_a_constant_one_in_the_caption() -> None:
    train, infer = make_record(), make_record(mode=Mode.INFER, threads=1)
    assert on_page(cells_document([train]), 200).startswith("train on cpu, 2 threads")
    both = on_page(cells_document([train, infer]), 200)
    assert "infer" in both and "threads" in both.split("─")[0] and not both.startswith("train")


def test_a_missing_figure_is_a_dash_and_never_zero() -> None:
    bare = replace(make_record("bare"), counters=Counters(flops=FlopCount()), samples=())
    line = next(
        line for line in on_page(cells_document([bare, make_record()]), 200).splitlines() if line.startswith("bare")
    )
    assert set(line.split()[3:]) == {"-"}


def test_a_failed_cell_shows_its_reason_in_its_row() -> None:
    text = on_page(cells_document(make_sweep()), 80)
    assert "bf16-amp   SKIPPED: cpu without bfloat16 instructions" in text
    assert "OUT OF MEMORY: tried to allocate 12.0 GiB" in text


def test_a_cell_killed_after_some_steps_keeps_its_figures() -> None:
    killed = make_record(outcome=Outcome.TIMED_OUT, reason="over 60 s")
    text = on_page(cells_document([killed, make_record("other")]), 80)
    assert "12.30" in text and "TIMED OUT: over 60 s" in text


def test_few_samples_show_no_interval() -> None:
    text = on_page(cells_document([make_record(n=3)]), 80)
    assert "±" not in text.split("─")[-1] and "12.3" in text and "interval" not in text


def test_colours_only_add_codes_and_only_where_asked() -> None:
    plain, coloured = (on_page(cells_document(make_sweep()), 80, color=color) for color in (False, True))
    assert "\x1b" not in plain
    assert ANSI.sub("", coloured) == plain and coloured != plain


def test_text_from_outside_cannot_command_the_terminal() -> None:
    evil = make_record("evil\x1b[2J\nmodel", step=None, outcome=Outcome.FAILED, reason="a\x1b]0;title\x07\r\nb")
    for text in (on_page(cells_document([evil]), 200), on_page(counts_document([evil]), 200)):
        assert "\x1b" not in text and "\r" not in text and "\x07" not in text


def test_lower_bounds_are_marked() -> None:
    counters = make_counters(uncounted=True)
    text = on_page(cells_document([make_record(counters=counters)]), 200)
    assert "≥5.80" in text
    assert ">=5.80" in on_page(cells_document([make_record(counters=counters)]), 200, unicode=False)
    assert "2 operations uncounted: aten.cdist (2)" in " ".join(
        on_page(counts_document([make_record(counters=counters)])).split()
    )


def test_a_predicted_peak_is_marked_and_named() -> None:
    counters = replace(make_counters(), memory=None)
    text = on_page(cells_document([make_record(counters=counters)]), 200)
    assert "≈191" in text and "≈ predicted live tensors" in text


def test_launch_times_far_apart_have_their_own_units() -> None:
    text = on_page(cells_document([make_record("fast", step=2e-6), make_record("slow", step=50.0)]), 80)
    assert "2.00 µs" in text and "50.0 s" in text


def test_layers_sum_to_the_model() -> None:
    text = on_page(layers_document(DETAILED), 120)
    assert text.splitlines()[-1].split()[1] == "19,392"
    assert "≥" in text.splitlines()[-1]
    assert "no layers" in on_page(layers_document(make_record()))


def test_containers_with_nothing_of_their_own_are_no_rows() -> None:
    layers = (
        LayerCount(name="", type="Net"),
        LayerCount(name="block", type="Sequential", output_shape=(8, 4)),
        LayerCount(name="block.0", type="Linear", parameters=20, flops_forward=320, flops_backward=320),
        LayerCount(name="block.1", type="ReLU", output_shape=(8, 4)),
    )
    text = on_page(layers_document(make_record(counters=replace(make_counters(), layers=layers))))
    assert [line.split()[0] for line in text.splitlines()[3:]][:2] == ["block.0", "block.1"]


def test_counts_are_exact_and_second_opinions_are_compared() -> None:
    opinions = (
        Opinion(counter="fvcore", forward_flops=1_000_000_000),
        Opinion(counter="closed-form"),
    )
    text = on_page(counts_document([make_record(counters=replace(make_counters(), opinions=opinions))]), 120)
    assert "9,547,360" in text and "fvcore 0.500x, closed-form ?" in text


def test_claims_say_why_they_are_no_match() -> None:
    text = on_page(claims_document(make_claims()))
    assert "18,874,880  ERRATUM" in text and "the page's product is wrong" in " ".join(text.split())
    assert text.endswith("5 claims: 2 match, 1 mismatch, 1 erratum, 1 unmeasured")
    matches = [claim for claim in make_claims() if claim.verdict is ClaimVerdict.MATCH]
    assert on_page(claims_document(matches)).endswith("2 claims: 2 match")


def test_on_a_narrow_page_claims_stand_below_the_family_of_their_model() -> None:
    claim = make_claims()[0]
    long = replace(
        claim, claim=replace(claim.claim, model="torchvision:shufflenet_v2_x0_5", id="shufflenet.parameters")
    )
    variant = replace(claim, claim=replace(claim.claim, model="my_net@classes=10", id="conv1.parameters.10"))
    lines = on_page(claims_document([claim, variant, long]), 60).splitlines()
    assert lines[2:7] == [
        "my_net",
        "  conv1.parameters              896       896  match",
        "  conv1.parameters.10           896       896  match",
        "torchvision",
        "  shufflenet.parameters         896       896  match",
    ]
    assert "torchvision:shufflenet_v2_x0_5" in on_page(claims_document([claim, variant, long]), 120)


def test_nothing_is_said_in_words() -> None:
    assert on_page(cells_document([])) == on_page(counts_document([])) == "no cells"
    assert on_page(claims_document([])) == "no claims"
    assert summary_line([]) == "0 cells: none"
    assert summary_line([make_record()]) == "1 cell: 1 ok"


def test_a_step_of_zero_seconds_is_no_crash() -> None:
    record = replace(make_record(), samples=(Sample(phase=Phase.STEP, seconds=(0.0,) * 9),))
    assert "my_net" in on_page(cells_document([record]))


def test_the_sum_of_layers_has_no_bound_of_its_own() -> None:
    peak = Peak(arithmetic=Arithmetic.FP32, flops_per_second=1e12, bytes_per_second=1e10, measured_at=STARTED_AT)
    record = make_record()
    record = replace(record, peak=peak, counters=replace(record.counters, layers=make_layers()))
    _, heading, *_, last = on_page(layers_document(record), 200).splitlines()
    assert heading.endswith("bound by")
    assert last.split()[0] == "sum"
