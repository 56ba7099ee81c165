"""A finding is said only of cells that may be compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.core.cell import Cell, Mode, Precision
from bench.core.record import ColdStart, Outcome, Phase, Record, Sample
from bench.stats.summary import summarise
from bench.tables import run as found
from bench.tables.run import cold_notes, failures
from tests.records import BUSY, make_record

FP32, AMP = Precision.FP32, Precision.BF16_AMP


def findings(records: list[Record]) -> tuple[str, ...]:
    return found.findings(records, [summarise(one) for one in records])


def record(seconds: float, *, optimizer: float = 0.1, busy: bool = False, **cell: object) -> Record:
    """A cell whose step takes so long, give or take 1 %, of which the optimizer takes a share."""
    steps = tuple(seconds * (0.99, 1.0, 1.01, 1.0)[index % 4] for index in range(40))
    samples = (
        Sample(phase=Phase.STEP, seconds=steps),
        Sample(phase=Phase.FORWARD, seconds=tuple(step * (1 - optimizer) for step in steps)),
        Sample(phase=Phase.OPTIMIZER, seconds=tuple(step * optimizer for step in steps)),
    )
    made = make_record(advice=(BUSY,) if busy else ())
    fields: dict[str, object] = {"model": "net", "batch_size": 8, "mode": Mode.TRAIN} | cell
    return replace(made, cell=Cell(**fields), samples=samples, outcome=Outcome.OK)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "amp, words",
    [
        (2.0, "bf16-amp is slower than fp32 here: its step takes 2.0 times as long"),
        (0.5, "bf16-amp is faster than fp32 here: its step takes 0.50 times as long"),
        (1.001, "bf16-amp and fp32 do not differ here beyond the noise"),
    ],
)
def test_a_precision_is_compared_with_fp32(amp: float, words: str) -> None:
    assert findings([record(1.0), record(amp, precision=AMP)]) == (words,)


def test_pairs_are_counted_and_their_range_is_given() -> None:
    records = [record(1.0), record(3.0, precision=AMP)]
    records += [record(1.0, model="other"), record(1.5, model="other", precision=AMP)]
    assert findings(records) == (
        "bf16-amp is slower than fp32 here in 2 of 2 pairs: its step takes 1.5 to 3.0 times as long",
    )
    records += [record(1.0, model="third"), record(0.5, model="third", precision=AMP)]
    assert findings(records)[0] == (
        "bf16-amp is faster than fp32 in 1 of 3 pairs: its step takes 0.50 times as long; "
        "slower in 2: 1.5 to 3.0 times as long"
    )


def test_the_range_is_of_the_pairs_that_differ() -> None:
    records = [record(1.0), record(3.0, precision=AMP)]
    records += [record(1.0, model="other"), record(0.999, model="other", precision=AMP)]
    assert findings(records) == (
        "bf16-amp is slower than fp32 here in 1 of 2 pairs: its step takes 3.0 times as long "
        "(in the other they do not differ beyond the noise)",
    )


def test_a_precision_within_the_noise_of_the_fastest_is_named_beside_it() -> None:
    records = [record(1.0), record(0.999, precision=AMP), record(0.9, precision=AMP, batch_size=4)]
    ((_, sentence),) = found.model_findings(records, [summarise(one) for one in records])
    assert sentence.startswith("fastest at batch 8 in bf16-amp or fp32: 999 ms a step")


def test_cells_of_a_busy_machine_or_without_an_interval_find_nothing() -> None:
    assert findings([record(1.0), record(2.0, precision=AMP, busy=True)]) == ()
    short = record(2.0, precision=AMP)
    few = tuple(replace(sample, seconds=sample.seconds[:4]) for sample in short.samples)
    assert findings([record(1.0), replace(short, samples=few)]) == ()
    assert findings([record(1.0), replace(record(2.0, precision=AMP), outcome=Outcome.FAILED)]) == ()


def test_an_optimizer_that_takes_much_of_the_step_is_named_with_its_share() -> None:
    records = [record(1.0, optimizer=0.54), record(2.0, optimizer=0.6, batch_size=16), record(1.0, model="small")]
    assert findings(records)[0] == "the optimizer takes 54 to 60 % of net's step"


def test_a_batch_that_does_not_pay_is_named() -> None:
    records = [record(1.0), record(4.0, batch_size=32), record(1.0, model="b"), record(1.5, model="b", batch_size=32)]
    assert findings(records) == ("a larger batch does no more examples per second: net",)


def test_each_model_has_one_sentence() -> None:
    records = [record(1.0, optimizer=0.5), record(2.0, precision=AMP), record(0.1, model="b")]
    assert found.model_findings(records, [summarise(one) for one in records]) == (
        (
            "net",
            "fastest at batch 8 in fp32: 1.00 s a step, 8.00 examples/s; bf16-amp is slower than fp32 here: its step "
            "takes 2.0 times as long; the optimizer takes 10 to 50 % of the step",
        ),
        ("b", "fastest at batch 8 in fp32: 100 ms a step, 80.0 examples/s"),
    )


def test_reasons_are_said_once_and_whole() -> None:
    slow = [replace(record(1.0, batch_size=size), outcome=Outcome.SKIPPED, reason="too slow") for size in (1, 2)]
    long = replace(record(1.0, model="b"), outcome=Outcome.OUT_OF_MEMORY, reason="a" * 200)
    assert failures([*slow, record(1.0), long]) == (
        "2 cells skipped: too slow",
        f"{long.cell.id} out of memory: {'a' * 200}",
    )


def test_a_faster_cell_that_is_doubted_is_not_passed_over_in_silence() -> None:
    records = [record(1.0), record(1.0, batch_size=32, busy=True)]
    ((_, sentence),) = found.model_findings(records, [summarise(one) for one in records])
    assert sentence.startswith(
        "fastest of the cells without a doubt at batch 8 in fp32: 1.00 s a step, 8.00 examples/s"
    )


def test_cold_starts_say_what_they_cost_and_why_one_is_missing() -> None:
    taken = ColdStart(has_cache=False, step_seconds=(1.0,), total_seconds=30.0)
    missing = ColdStart(has_cache=False, reason="no memory", total_seconds=60.0)
    records = [replace(make_record("a"), cold_starts=(taken,)), replace(make_record("b"), cold_starts=(missing,))]
    cost, why = cold_notes(records)
    assert cost.startswith("Cold starts took 1 min 30 s in 2 fresh interpreters;")
    assert why == "no cold start of b/train/b8/cpu/fp32: no memory"
    assert cold_notes([make_record()]) == []
