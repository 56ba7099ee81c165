from __future__ import annotations

from dataclasses import replace

import pytest

from bench.core.advice import Advice, AdviceKind
from bench.core.cell import Mode
from bench.core.record import Sampling
from bench.stats.stopping import with_tail
from bench.tables.advice import WORDS, advice_sentences, marks, short_advice
from bench.tables.document import Doubts
from tests.pages import on_page
from tests.records import BUSY, NOISY, make_record, make_sweep


@pytest.mark.parametrize("kind", AdviceKind)
def test_every_kind_of_advice_has_words_that_say_what_to_do(kind: AdviceKind) -> None:
    words = WORDS[kind]
    record = make_record(advice=(Advice(kind=kind, facts=(("reason", "because"),)),))
    ((mark, sentence),) = advice_sentences([record])
    assert mark == words.mark == marks(record)
    assert sentence.startswith(f"{words.title} (because): ")
    assert words.remedy.endswith(".") and (words.remedy in sentence or "`bench run " in sentence)
    assert not words.meaning.endswith(".")


def test_marks_are_letters_of_one_cure_each() -> None:
    assert len({words.mark for words in WORDS.values()}) == len(set(WORDS.values()))
    assert all(len(words.mark) == 1 and words.mark.isalpha() for words in WORDS.values())


def test_the_same_advice_in_many_cells_is_said_once() -> None:
    sentences = [sentence for _, sentence in advice_sentences(make_sweep())]
    assert len(sentences) == 2
    assert sentences[0].startswith("Needs more steps in 2 of 20 cells (a wide interval from 40 steps): ")


def test_one_cell_of_many_is_named_and_all_are_said_so() -> None:
    doubtful, fine = make_record(advice=(BUSY,)), make_record("other")
    assert advice_sentences([doubtful, fine])[0][1].startswith("Busy machine in my_net/train/b8/cpu/fp32 (")
    assert advice_sentences([doubtful, doubtful])[0][1].startswith("Busy machine in all 2 cells (")
    assert advice_sentences([fine]) == ()


def test_facts_of_several_cells_become_ranges_and_examples() -> None:
    def doubt(**facts: str | int | float) -> Advice:
        return Advice(kind=AdviceKind.LAUNCH_BOUND, facts=tuple(facts.items()))

    records = [
        make_record(advice=(doubt(phase_sum_seconds=0.0123, peak_bytes=1024, gap_fraction=0.07, reason="cold"),)),
        make_record(advice=(doubt(phase_sum_seconds=0.5, peak_bytes=2048, gap_fraction=0.07, reason="hot"),)),
        make_record("third"),
    ]
    ((_, sentence),) = advice_sentences(records)
    assert "phase sum 12.3 ms to 500 ms" in sentence
    assert "peak 1.00 KiB to 2.00 KiB" in sentence
    assert "gap 7.0 %," in sentence
    assert "cold, and 1 more" in sentence


def test_facts_from_outside_cannot_command_the_terminal() -> None:
    advice = Advice(kind=AdviceKind.COUNT_FAILED, facts=(("reason", "boom\x1b[2J\nsecond line"),))
    ((_, sentence),) = advice_sentences([make_record(advice=(advice,))])
    assert "boom\\x1b[2J second line" in sentence


def test_advice_fills_the_page_with_its_letter_in_front() -> None:
    noisy = replace(make_record(), advice=(NOISY,))
    text = on_page([Doubts(sentences=advice_sentences([noisy]))], 60)
    lines = text.splitlines()
    assert lines[0].startswith("N  Needs more steps")
    assert all(line.startswith("   ") for line in lines[1:])
    assert max(map(len, lines)) <= 60


def short(kind: AdviceKind, **facts: float) -> Advice:
    return Advice(kind=kind, facts=(*facts.items(), ("budget_seconds", 2.0)))


def test_what_a_longer_run_cures_is_one_doubt_with_its_command() -> None:
    records = [
        make_record("net", advice=(short(AdviceKind.FEW_SAMPLES, steps=60),)),
        make_record("net.py:Other", advice=(short(AdviceKind.DRIFTING_SAMPLES, drift_fraction=0.12),)),
        make_record("third"),
    ]
    assert [marks(record) for record in records] == ["N", "N", ""]
    ((mark, sentence),) = advice_sentences(records)
    assert mark == "N"
    known = "(no interval from 60 steps; the last third of the steps took +12 % against the first)"
    assert sentence.startswith(f"Needs more steps in 2 of 3 cells {known}: ")
    assert sentence.endswith("Measure longer: `bench run net net.py:Other --mode train -b 8 -p fp32 --budget 20s`.")


def test_the_command_that_cures_asks_for_all_that_was_asked_for() -> None:
    record = make_record("net.py:Net", advice=(short(AdviceKind.FEW_SAMPLES, steps=60),))
    cell = replace(record.cell, input_shape=(3, 32, 32), threads=1, optimizer="sgd", device="cuda:0")
    ((_, sentence),) = advice_sentences([replace(record, cell=cell)])
    typed = sentence.partition("`bench run ")[2]
    assert typed.startswith("net.py:Net --mode train -b 8 -p fp32 ")
    for option in ("--input-shape 3x32x32", "--threads 1", "--optimizer sgd", "--device cuda:0"):
        assert option in typed


def test_the_command_that_cures_repeats_how_the_run_sampled() -> None:
    sampling = with_tail(Sampling(cold_cache=True, min_warmup_seconds=60.0, target=0.05), None)
    few = Advice(kind=AdviceKind.FEW_SAMPLES, facts=(("steps", 60), ("budget_seconds", sampling.budget_seconds)))
    record = replace(make_record("net", mode=Mode.INFER, advice=(few,)), sampling=sampling)
    ((_, sentence),) = short_advice([record])
    assert sentence.endswith(
        "Measure longer: `bench run net --mode infer -b 8 -p fp32 --tail --cold-cache --target 0.05 --processes 3 "
        "--warmup 60s --budget 6000s`."
    )


def test_on_a_busy_machine_more_steps_are_no_cure() -> None:
    few = short(AdviceKind.FEW_SAMPLES, steps=60)
    calm, disturbed = make_record("calm", advice=(few,)), make_record("net", advice=(few, BUSY))
    again = "Measure again when the machine is quiet: `bench run --resume r --retry doubted`."
    assert short_advice([disturbed, disturbed], "r") == (
        ("N", "Needs more steps in all 2 cells. See B first."),
        ("B", f"Busy machine in all 2 cells. {again}"),
    )
    of_both = dict(short_advice([calm, disturbed], "r"))
    assert of_both["N"].endswith("Measure longer: `bench run calm --mode train -b 8 -p fp32 --budget 20s`.")
    assert of_both["B"] == f"Busy machine in net/train/b8/cpu/fp32. {again}"


def test_cells_that_are_fed_differently_are_cured_by_a_command_each() -> None:
    doubted = make_record("net.py:Net", advice=(short(AdviceKind.FEW_SAMPLES, steps=60),))
    records = [replace(doubted, cell=replace(doubted.cell, input_shape=shape)) for shape in ((3, 8, 8), (3, 9, 9))]
    ((_, sentence),) = short_advice(records)
    assert sentence.count("`bench run net.py:Net ") == 2
    assert "--input-shape 3x8x8 --budget 20s` and `bench run" in sentence


def test_counters_that_disagree_are_compared_as_shares() -> None:
    def doubt(ours: int, theirs: int) -> Advice:
        facts = (("forward_flops", ours), ("fvcore_forward_flops", theirs))
        return Advice(kind=AdviceKind.FLOPS_DISAGREE, facts=facts)

    records = [make_record(advice=(doubt(1200, 400),)), make_record("b", advice=(doubt(10**9, 95 * 10**7),))]
    assert "(fvcore 0.333x to 0.950x of ours in forward)" in advice_sentences(records)[0][1]
    nearly = make_record(advice=(doubt(10**9, 10**9 - 1000),))
    assert "(fvcore 1-1e-06x of ours in forward)" in advice_sentences([nearly])[0][1]


def test_phase_gaps_are_said_as_shares() -> None:
    def gap(phase_sum: float) -> Advice:
        facts = (("phase_sum_seconds", phase_sum), ("step_seconds", 0.1))
        return Advice(kind=AdviceKind.PHASE_GAP, facts=facts)

    sentence = advice_sentences([make_record(advice=(gap(0.089),)), make_record("b", advice=(gap(0.107),))])[0][1]
    assert "(the gap is -7 % to +11 % of the step)" in sentence
    no_step = Advice(kind=AdviceKind.PHASE_GAP, facts=(("phase_sum_seconds", 0.1),))
    assert "(phase sum 100 ms)" in advice_sentences([make_record(advice=(no_step,))])[0][1]
