from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.stats.tails import tail_of
from bench.tables.document import page_text
from bench.tables.figures import display_width
from bench.tables.scenarios import generation_document, sampling_document
from bench.tables.table import Page
from tests.goldens import check_golden
from tests.scenario_cases import FAILED_GENERATION, make_generation, make_sampled

GENERATIONS = [
    make_generation(),
    make_generation(uses_cache=False),
    make_generation(batch_size=1, prompt=128),
    FAILED_GENERATION,
]
SAMPLED = [make_sampled(5, training=True), make_sampled(10), make_sampled(5, guidance=3.0)]


def test_generations_look_as_they_did() -> None:
    check_golden("generation-80.txt", page_text(generation_document(GENERATIONS), Page()) + "\n")


def test_samplings_look_as_they_did() -> None:
    check_golden("sampling-80.txt", page_text(sampling_document(SAMPLED), Page()) + "\n")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_line_is_wider_than_the_page(width: int) -> None:
    text = (
        page_text(generation_document(GENERATIONS), Page(width=width))
        + "\n"
        + page_text(sampling_document(SAMPLED), Page(width=width))
    )
    assert max(map(display_width, text.splitlines())) <= width


def test_every_figure_stands_in_a_wide_table() -> None:
    text = " ".join(page_text(generation_document(GENERATIONS), Page(width=200)).split())
    for words in ("OUT OF MEMORY: RuntimeError", "2N+4TA", "6N+12SA", "± 0", "more per 1000 tokens"):
        assert words in text


def test_p99_of_a_token_and_tokens_per_second_stand_in_80_columns() -> None:
    one = make_generation()
    assert one.times is not None
    drawn = np.random.default_rng(1).exponential(1e-3, (300, 10)) + 1e-3
    times = replace(one.times, token_seconds=tuple(map(tuple, drawn.tolist())), first_token_seconds=(0.02,) * 300)
    text = page_text(generation_document([replace(one, times=times), *GENERATIONS[1:]]), Page())
    header, units, _, row, other, *_ = text.splitlines()[1:]
    assert "p99" in header and "tokens/s" in units
    tail = tail_of(tuple(drawn.ravel()), 0.99)
    assert tail is not None and f"{tail.point * 1e3:.2f}" in row
    assert " - " in other  # eighty values have no p99


def test_a_cache_that_holds_more_than_its_formula_says_is_told() -> None:
    one = make_generation()
    assert one.counts is not None
    assert one.counts.cache is not None
    odd = replace(one, counts=replace(one.counts, cache=replace(one.counts.cache, held_bytes=2**20)))
    assert "the cache holds 1.00 MiB, its formula says 336 KiB" in page_text(generation_document([odd]), Page())


def test_control_characters_of_a_reason_do_not_reach_the_terminal() -> None:
    odd = replace(FAILED_GENERATION, reason="\x1b[2J\nboom")
    assert "\x1b" not in page_text(generation_document([odd]), Page())
