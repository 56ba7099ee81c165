"""What the sections say, without a browser."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bench.core.cell import Cell, Precision
from bench.core.claim import ClaimVerdict
from bench.core.comparison import Nominated, Nomination, Side
from bench.core.estimate import Estimate
from bench.core.record import Outcome, Phase
from bench.core.units import format_count
from bench.report.html.contract import ReportData, Row, Section, make_data
from bench.report.html.page import render
from bench.report.html.sections import (
    SECTIONS,
    answer,
    cells,
    claims,
    documents,
    environment,
    memory,
    pareto,
    phases,
    roofline,
    scaling,
    verdicts,
)
from bench.report.html.sections.cells import BUDGET, raw_samples
from bench.stats.cold import payback_of
from bench.stats.summary import Summary, summarise
from bench.store.stored import StoredRun
from bench.tables.document import Notes, Rows
from bench.tables.figures import first, seconds_text, words
from tests.records import BUSY, ENVIRONMENT, begun, make_begun, make_claims, make_record
from tests.report.history_trends import make_trend
from tests.report.html.runs import compared_run, growing_run, hostile_run, long_run, ordinary_run, run_with_peaks
from tests.report.profiles import PROFILE
from tests.scenario_cases import FAILED_GENERATION, make_generation, make_sampled
from tests.stats.test_rank_scaling import alone, ranks
from tests.stored_runs import make_run
from tests.trainings import make_training

CASES = {
    "profiles": (PROFILE,),
    "generations": (make_generation(), FAILED_GENERATION),
    "images": (make_sampled(2, training=True), make_sampled(5)),
    "trainings": (make_training(),),
}


BEGUN = make_begun()


def built(section: Section, *runs: StoredRun, **more: object) -> dict:
    values = section.build(make_data(runs or [ordinary_run()], **more))  # type: ignore[arg-type]
    assert values is not None
    return dict(values)


def tables(section: Section, *runs: StoredRun) -> list[Rows]:
    return [block for block in built(section, *runs)["blocks"] if isinstance(block, Rows)]


def texts_of(table: Rows) -> list[tuple[str, ...]]:
    return list(zip(*(column.cells for column in table.columns), strict=True))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.anchor)
def test_every_section_can_be_left_out_where_there_is_nothing_to_show(section: Section) -> None:
    assert section is answer.SECTION or section.build(make_data([make_run(id="empty")])) is None


def test_every_section_shows_itself_on_a_full_report() -> None:
    second = ordinary_run("second", **CASES)
    runs = [growing_run(), run_with_peaks(), second, compared_run(), make_run(id="begun", records=BEGUN)]
    runs.append(make_run(id="ranks", records=(alone(), ranks())))
    data = replace(make_data(runs, [Nominated(base=Side(id="first"), head=Side(id="second"))]), trends=(make_trend(),))
    page = render(data)
    assert re.findall(r'<section id="([a-z]+)"', page) == [section.anchor for section in SECTIONS]


def beginnings(*runs: StoredRun) -> dict[str, tuple[str, ...]]:
    (table,) = tables(documents.START, *runs)
    return {column.name: column.cells for column in table.columns}


def test_a_compiled_cell_says_after_how_many_steps_it_has_paid_off() -> None:
    columns = beginnings(make_run(id="begun", records=BEGUN))
    assert [columns[name] for name in ("model", "batch", "compile")] == [
        ("my_net",) * 2,
        ("8",) * 2,
        ("none", "default"),
    ]
    assert columns["paid off"] == ("-", "22")
    assert list(columns).index("paid off") == list(columns).index("step") + 1  # in sight, on a narrow page too


def test_a_compiled_cell_pays_off_against_the_same_one_of_its_own_run() -> None:
    plain = begun(make_record(step=2.0), build=0.5, first=2.2)
    runs = [make_run(id="first", records=BEGUN), make_run(id="second", records=(plain, BEGUN[1]))]
    columns = beginnings(*runs)
    expected = payback_of(BEGUN[1], plain)
    assert expected is not None and expected.steps not in (None, 22)
    assert columns["paid off"] == ("-", "22", "-", str(expected.steps))
    assert list(columns)[:2] == ["run", "model"]


def test_of_too_many_cells_the_compiled_ones_stay_and_all_in_the_order_of_the_run() -> None:
    plain, compiled = BEGUN
    others = [replace(plain, cell=replace(plain.cell, batch_size=size)) for size in range(100, 210)]
    blocks = built(documents.START, make_run(id="many", records=(*others, plain, compiled)))["blocks"]
    (table,) = [block for block in blocks if isinstance(block, Rows)]
    (batches,) = [column.cells for column in table.columns if column.name == "batch"]
    assert batches == (*(str(one.cell.batch_size) for one in others[:99]), str(compiled.cell.batch_size))
    (notes,) = [block.lines for block in blocks if isinstance(block, Notes)]
    assert notes == ["12 of 112 cells are left out, compiled ones last."]


def test_texts_have_their_tokens_per_second_and_the_time_of_one_beside_each_other() -> None:
    texts = [make_record("lm", size, tokens_per_example=64) for size in (1, 2)]
    for records, is_shown in ((texts, True), ([*texts, make_record("mlp")], False)):
        columns = {c["name"]: c for c in built(cells.SECTION, make_run(id="r", records=tuple(records)))["columns"]}
        assert (columns["tokens"]["shown"], columns["token"]["shown"]) == (True, is_shown)  # a click shows it always
        summary = summarise(texts[0])
        assert columns["tokens"]["texts"][0] == format_count(summary.tokens_per_second)
        assert columns["token"]["unit"] == "µs"
        assert float(columns["token"]["texts"][0]) == pytest.approx(1e6 * summary.seconds_per_token, rel=0.01)


def test_the_answer_comes_first_and_counts() -> None:
    values = built(answer.SECTION)
    assert values["headline"] == "bf16-amp is faster than fp32 here in 7 of 7 pairs: its step takes 0.70 times as long"
    assert values["counted"] == "18 of 20 cells of 5 models measured, 2 on a busy machine; 1 skipped, 1 out of memory"
    assert [(card["number"], card["tone"]) for card in values["cards"]] == [
        ("18", ""),
        ("1", ""),
        ("1", "bad"),
        ("2", "doubt"),
        ("2", "bad"),
    ]
    assert [cell for cell, _ in values["failures"]] == [
        "mlp/train/b32/cpu/bf16-amp",
        "walkthrough_cnn/train/b32/cpu/bf16-amp",
    ]
    assert values["machines"] == ["Test CPU · 2 cores · 8.00 GiB · torch 2.15.0 · Python 3.11.9"]


def test_a_run_without_fault_says_so() -> None:
    run = make_run(id="r", environment=ENVIRONMENT, records=(make_record(),))
    assert built(answer.SECTION, run)["headline"] == "1 cell of 1 model, all measured"


def test_the_headline_says_that_the_machine_was_busy_and_names_the_run_to_measure_again() -> None:
    busy, calm = make_record(batch_size=8, advice=(BUSY,)), make_record(batch_size=32)
    values = built(answer.SECTION, make_run(id="r", environment=ENVIRONMENT, records=(busy,)))
    assert values["headline"] == "1 cell of 1 model, all measured on a busy machine"
    assert "`bench run --resume r --retry doubted`" in values["doubts"][0][1]
    both = built(answer.SECTION, make_run(id="r", environment=ENVIRONMENT, records=(busy, calm)))
    assert both["headline"] == "2 cells of 1 model, all measured, 1 on a busy machine"


def test_a_training_is_the_headline_of_its_run() -> None:
    run = make_run(id="r", environment=ENVIRONMENT, trainings=(make_training(),))
    headline = built(answer.SECTION, run)["headline"]
    assert headline == "my_net@classes=10: After epoch 2 of 2: 85.0 % of the test set right, loss 0.300"


def test_a_cell_without_a_verdict_is_no_good_news() -> None:
    cards = built(answer.SECTION, compared_run())["cards"]
    tones = {card["text"]: card["tone"] for card in cards}
    assert tones["without a verdict"] == "doubt"
    assert "good" not in tones.values()


def test_runs_without_a_cell_in_common_are_a_line_each() -> None:
    runs = [ordinary_run("first"), ordinary_run("second"), make_run(id="third")]
    cell = Nomination(cell_id="a/train/b8/cpu/fp32", cell_key="a", base=1.0, head=1.1, shift=0.1)
    alike = Nominated(base=Side(id="first"), head=Side(id="second"), nominations=(cell,))
    strange = Nominated(base=Side(id="first"), head=Side(id="third"))
    blocks = documents.COMPARISON.build(replace(make_data(runs, [alike, strange])))["blocks"]  # type: ignore[index]
    assert blocks[-1] == Notes(lines=["first and third have no cell in common."])
    none = documents.COMPARISON.build(make_data(runs, [strange, strange]))["blocks"]  # type: ignore[index]
    assert [block.text for block in none] == ["No run has a cell in common with first"]


def test_phases_that_are_left_out_are_counted() -> None:
    nonsense = make_record(batch_size=8)
    nonsense = replace(
        nonsense,
        samples=tuple(
            replace(s, seconds=tuple(3 * v for v in s.seconds)) if s.phase is Phase.FORWARD else s
            for s in nonsense.samples
        ),
    )
    run = make_run(id="r", environment=ENVIRONMENT, records=(nonsense, make_record(batch_size=32)))
    (note,) = built(phases.SECTION, run)["notes"]
    assert note == "Left out: 1 cell whose phases are more than 20 % off the whole step."


def test_what_was_never_finished_or_cannot_be_read_is_a_failure_too() -> None:
    run = ordinary_run(
        records=(make_record(),), missing=(Cell(model="lost", batch_size=8),), problems=("x.json is truncated",)
    )
    values = built(answer.SECTION, run)
    assert values["headline"] == "1 of 2 cells of 1 model measured; 1 never finished"
    assert values["failures"] == (
        ("lost/train/b8/cpu/fp32", "never finished: no record"),
        (run.id, "x.json is truncated"),
    )


def test_findings_are_of_the_newest_run_alone() -> None:
    older = ordinary_run(
        "older", records=(make_record(step=0.02), make_record(precision=Precision.BF16_AMP, step=0.01))
    )
    newer = ordinary_run(
        "newer", records=(make_record(step=0.02), make_record(precision=Precision.BF16_AMP, step=0.04))
    )
    assert built(answer.SECTION, older, newer)["headline"].startswith("bf16-amp is slower than fp32 here")
    assert built(answer.SECTION, newer, older)["headline"].startswith("bf16-amp is faster than fp32 here")


def test_a_comparison_alone_opens_with_its_verdict() -> None:
    values = built(answer.SECTION, compared_run())
    assert values["headline"] == "Slower: 3 cells: 1 slower, 1 same, 1 incomparable"
    assert values["changes"][0].startswith("mlp/b8: SLOWER: +8.3 %")


def test_the_best_row_of_a_model_is_the_one_with_most_examples() -> None:
    table = built(answer.SECTION)["best"]
    rows = {row[0]: row for row in texts_of(table)}
    assert rows["my_net"][3:5] == ("32", "bf16-amp")


def test_the_table_of_cells_holds_each_text_once() -> None:
    run = long_run(300)
    document = built(cells.SECTION, run)["document"]
    batch = next(column for column in document["columns"] if column["name"] == "batch")
    assert batch["texts"]["of"] == ["1", "2", "4", "8", "16"]
    assert [batch["texts"]["of"][at] for at in batch["texts"]["at"]] == [str(r.cell.batch_size) for r in run.records]


def test_a_table_of_many_cells_has_its_first_page_only_in_the_document() -> None:
    page = render(make_data([long_run(300)]))
    assert page.count("<tr data-row=") == cells.PAGE


def test_raw_samples_read_back_within_half_a_per_mille() -> None:
    record = make_record(processes=3)
    found, note = raw_samples(make_data([make_run(id="r", records=(record,))]).rows)
    assert note == ""
    steps = [sample for sample in record.samples if sample.phase is Phase.STEP]
    for one, sample in zip(found[0], steps, strict=True):
        assert [value * one["unit"] for value in one["steps"]] == pytest.approx(sample.seconds, rel=5e-4)
        assert [value * one["unit"] for value in one["warm"]] == pytest.approx(sample.warmup_seconds, rel=5e-4)


def test_raw_samples_are_bounded_and_say_so() -> None:
    record = make_record(n=5000)
    found, note = raw_samples(make_data([make_run(id="r", records=(record,) * 3)]).rows)
    (one,) = found[0]
    assert len(one["steps"]) <= 2000
    assert (one["every"], one["of"]) == (3, 5000)
    assert "at most 2,000 steps" in note
    rows = [Row(index=index, run=0, record=make_record(n=60), summary=Summary()) for index in range(BUDGET // 40)]
    many, note = raw_samples(rows)
    assert sum(len(process["steps"]) for row in many.values() for process in row) <= BUDGET
    assert note


def test_phases_share_one_scale_of_time_and_their_shares_stand_folded() -> None:
    values = built(phases.SECTION)
    group = next(group for group in values["groups"] if group.title == "my_net, ms")
    bar = group.bars[0]
    longest = max(bar.mark for bar in group.bars)
    assert longest == pytest.approx(100)  # the tick is the whole step; the longest of the model ends the scale
    assert bar.mark < longest
    assert [part.name for part in bar.parts] == ["forward", "loss", "backward", "optimizer"]
    assert [part.width / bar.mark for part in bar.parts] == pytest.approx([0.30, 0.01, 0.58, 0.10], rel=1e-6)
    assert bar.parts[0].full == "forward 6.64"
    assert bar.names == ("8", "fp32")
    assert bar.figures[1] == "+1 %"
    row = next(row for row in texts_of(values["shares"]) if row[0] == "my_net")
    assert row == ("my_net", "8", "fp32", "30", "1", "58", "10", "+1 %")


def three_batches(run_id: str = "run") -> StoredRun:
    """The ordinary run with a third batch size of everything: two points are no curve."""
    run = ordinary_run(run_id)
    third = [replace(one, cell=replace(one.cell, batch_size=64)) for one in run.records if one.cell.batch_size == 32]
    return ordinary_run(run_id, records=(*run.records, *third))


def test_two_batch_sizes_are_no_chart() -> None:
    assert scaling.SECTION.build(make_data([ordinary_run()])) is None


def test_latency_and_throughput_have_a_line_per_precision() -> None:
    panel = next(panel for panel in built(scaling.SECTION, three_batches())["panels"] if panel["title"] == "my_net")
    latency, throughput = panel["charts"]
    assert [series.name for series in latency.series] == ["fp32", "bf16-amp"]
    assert latency.title == "latency, ms per step"
    first_mark = latency.series[0].marks[0]
    assert first_mark.text.startswith("fp32, batch 8: 22.1")
    assert first_mark.low > first_mark.y > first_mark.high
    assert throughput.series[0].marks[0].low > throughput.series[0].marks[0].y


def test_two_runs_are_told_apart_by_their_dash_and_the_newest_is_full() -> None:
    legend = built(scaling.SECTION, three_batches("first"), three_batches("second"))["legend"]
    assert [(entry["name"], entry["dash"]) for entry in legend] == [
        ("fp32, run 1", 1),
        ("fp32, run 2", 0),
        ("bf16-amp, run 1", 1),
        ("bf16-amp, run 2", 0),
    ]


def test_growth_has_fits_along_batch_and_option_with_doubts() -> None:
    batch, option = tables(documents.GROWTH, growing_run())
    (row,) = texts_of(batch)
    assert (row[0], row[3]) == ("my_net/train/b*/cpu/fp32", "72")
    assert (batch.styles, option.styles) == ({}, {0: "yellow"})
    blocks = built(documents.GROWTH, growing_run())["blocks"]
    (note,) = (line for block in blocks if isinstance(block, Notes) for line in block.lines)
    assert note.startswith("mlp@depth=*/train/b8/cpu/fp32: the times follow no power")


def test_a_claim_of_time_shows_its_interval_and_that_it_is_open() -> None:
    interval = Estimate(point=0.97, low=0.91, high=1.02, confidence=0.95, n=8, n_effective=8, method="test")
    open_claim = replace(
        make_claims()[0], measured=0.97, verdict=ClaimVerdict.INCONCLUSIVE, reason="neither shown", interval=interval
    )
    values = built(claims.SECTION, ordinary_run(claims=(*make_claims(), open_claim)))
    explained = next(one for one in values["open"] if one["verdict"] == "inconclusive")
    assert (explained["measured"], explained["style"]) == ("0.970", "yellow")
    assert any("0.910 to 1.020" in text for row in texts_of(values["table"]) for text in row)


def test_memory_shows_causes_and_the_measured_peak() -> None:
    bar = built(memory.SECTION)["groups"][0].bars[0]
    assert sum(part.width for part in bar.parts) == pytest.approx(100 * 200 / 210)
    assert bar.mark == pytest.approx(100)
    assert bar.mark_text == "measured 200 MiB"
    assert bar.figures == ("191 MiB", "200 MiB")


def test_a_small_process_has_no_tick_because_its_growth_is_the_allocators() -> None:
    small = replace(make_record(), counters=counters(12 * 1024**2))
    values = built(memory.SECTION, make_run(id="r", records=(small, make_record(batch_size=16))))
    first_bar, second = values["groups"][0].bars
    assert (first_bar.mark, first_bar.figures[1]) == (None, "12.0 MiB")
    assert second.mark is not None
    assert (values["small"], values["limit"]) == ("1 of 2", "64.0 MiB")


def test_the_front_holds_what_nothing_beats() -> None:
    records = [
        replace(make_record(batch_size=batch, step=step), counters=counters(peak))
        for batch, step, peak in ((1, 0.1, 100), (2, 0.1, 200), (3, 0.3, 150), (4, 0.1, 200), (5, 0.1, 300))
    ]
    rows = make_data([make_run(id="r", records=tuple(records))]).rows
    assert [row.record.cell.batch_size for row in pareto.front(rows)] == [1, 4, 5]


def counters(peak: int):
    made = make_record().counters
    assert made.memory is not None
    return replace(made, memory=replace(made.memory, step_resident_bytes=peak))


def test_the_roofline_needs_peaks_and_an_exact_count() -> None:
    assert roofline.SECTION.build(make_data([ordinary_run()])) is None
    values = built(roofline.SECTION, run_with_peaks())
    rows = {row[0]: row for row in texts_of(values["table"])}
    assert not any(name.startswith("lstm") for name in rows)  # a lower bound is no basis for a utilisation
    assert all("fp32" in name for name in rows)
    row = rows["my_net/train/b8/cpu/fp32"]
    flops, bytes_touched, seconds = 25_000_000 * 8 * 3 * 2.9, 120e6, 0.0123 * 1.8
    assert row[3] == "memory"
    assert row[4] == f"{bytes_touched / 40e9 / seconds * 100:.0f}"
    assert row[5] == f"{flops / seconds / 2e12 * 100:.1f}"


def test_the_erratum_is_explained_with_both_values() -> None:
    values = built(claims.SECTION)
    assert [(c["verdict"], c["documented"], c["measured"]) for c in (*values["open"], *values["known"])] == [
        ("mismatch", "18,000", "18,496"),
        ("erratum", "3,221,504", "18,874,880"),
        ("unmeasured", "0.75", "-"),
    ]
    assert len(values["open"]) == 1  # the mismatch asks for a decision; all else is folded
    assert values["known"][0]["reason"] == "(64*24*24 + 1) * 512 is 18,874,880; the page's product is wrong"


def test_the_environment_names_what_differs() -> None:
    other = ordinary_run("second", environment=replace(ENVIRONMENT, torch="2.16.0", host="elsewhere"))
    values = built(environment.SECTION, ordinary_run("first"), other)
    rows = {row[0]: row[1:] for row in texts_of(values["differing"])}
    assert rows["torch"] == ("2.15.0", "2.16.0")
    assert set(rows) == {"fingerprint", "host", "torch"}
    assert not values["is_one"]
    assert built(environment.SECTION)["differing"] is None


def test_verdicts_stand_on_one_scale_with_zero_in_the_middle() -> None:
    assert verdicts.place(0.0, 0.1) == 50
    assert verdicts.place(0.05, 0.1) == 75
    assert verdicts.place(-9.0, 0.1) == 0
    (shown,) = built(verdicts.SECTION, compared_run())["comparisons"]
    slower, same, lost = shown["rows"]
    assert slower["strip"]["low"] < slower["strip"]["shift"] < slower["strip"]["high"]
    assert (slower["tone"], same["tone"], lost["strip"]) == ("bad", "quiet", None)
    assert "no module named" in lost["why"][0]


def test_a_report_of_two_runs_begins_with_their_comparison() -> None:
    pair = Nominated(
        base=Side(id="a"),
        head=Side(id="b"),
        nominations=(
            Nomination(cell_id="calm", cell_key="1", base=0.01, head=0.0101, shift=0.01),
            Nomination(cell_id="slow", cell_key="2", base=0.01, head=0.012, shift=0.18, is_suspect=True),
        ),
        commands=("bench ab a b slow",),
    )
    page = render(make_data([ordinary_run("a"), ordinary_run("b")], [pair]))
    assert re.findall(r'<section id="([a-z]+)"', page)[:2] == ["comparison", "answer"]
    assert page.index("Head takes") < page.index("Which run is which") < page.index("nominations, not verdicts")
    assert page.count('<circle cx="') == 3  # two cells and their mean
    assert "bench ab a b slow" in page
    assert SECTIONS[0].build(make_data([ordinary_run()])) is None


def test_a_long_text_is_cut_and_says_how_long_it_was() -> None:
    assert words("x" * 1_000_000).endswith("… (1,000,000 characters)")
    assert len(words("x" * 1_000_000)) < 1300
    assert words("as it is") == "as it is"
    assert first([1, 2, 3], 2, "cells") == ((1, 2), "The first 2 of 3 cells are shown.")
    assert first([1, 2], 2, "cells") == ((1, 2), "")


def test_digits_follow_the_noise() -> None:
    data = make_data([make_run(id="r", records=(make_record(step=0.0123, noise=0.2),))])
    assert re.fullmatch(r"12\.\d ± 0\.\d ms|12 ± 1 ms|12\.3 ± \d\.\d ms", seconds_text(data.rows[0].summary.step))
    assert seconds_text(None) == "-"


def test_a_hostile_run_is_text_everywhere() -> None:
    page = render(make_data([hostile_run()]))
    assert len(re.findall(r"<script[ >]", page)) == 2  # the data and the page's own
    assert "<img" not in page
    assert "<svg onload" not in page
    assert len(page) < 400_000


def test_an_outcome_is_a_column_only_where_one_is_not_ok() -> None:
    run = make_run(id="r", records=(make_record(), make_record(batch_size=16, step=None, outcome=Outcome.KILLED)))
    named = [column["name"] for column in built(cells.SECTION, run)["columns"]]
    assert "outcome" in named
    assert "outcome" not in [
        c["name"] for c in built(cells.SECTION, make_run(id="r", records=(make_record(),)))["columns"]
    ]


def test_a_section_of_anothers_can_stand_on_the_page() -> None:
    def build(data: ReportData) -> dict[str, object]:
        return {"table": table, "peaks": [], "charts": [], "legend": [], "notes": []}

    table = built(answer.SECTION)["best"]
    section = Section(anchor="roofline", title="Mine", build=build)
    page = render(make_data([ordinary_run()]), sections=(section,))
    assert re.findall(r"<h2[^>]*>([^<]*)", page) == ["Mine"]


def test_generated_text_and_sampled_images_have_their_tables_and_notes() -> None:
    run = make_run(id="cases", **CASES)
    generated, sampled = (tables(section, run) for section in (documents.TEXT, documents.IMAGES))
    assert [table.caption.split(",")[0] for table in generated] == [
        "Time to the first token and per token",
        "Memory of the cache",
        "FLOPs per token",
    ]
    assert [table.total for table in sampled] == [False, True]
    blocks = [*built(documents.TEXT, run)["blocks"], *built(documents.IMAGES, run)["blocks"]]
    lines = [line for block in blocks if isinstance(block, Notes) for line in block.lines]
    assert any("OUT OF MEMORY: RuntimeError" in line for line in lines)
    assert any("x steps" in line for line in lines)
    page = render(make_data([run]))
    assert "2N+4TA" in page
    assert "4 combinations of generating text or sampling images measured" in page
    assert "text encode" in page
