from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from bench.core.comparison import Commit, Comparison, ComparisonReason, ComparisonVerdict, Likely, ShownBy
from bench.core.estimate import Estimate
from bench.tables.comparison import (
    STRIP_WIDTH,
    Heading,
    change,
    comparison_document,
    headline,
    likely_text,
    reason_text,
    short_names,
    strip,
    strip_range,
)
from tests.pages import as_markdown, on_page

HEADING = Heading(base="origin/main (1a2b3c4d5)", head="HEAD", method="6 sessions of 8 quads, 1 min 3 s, seed 5")


def seconds(point: float) -> Estimate:
    return Estimate(point=point, low=None, high=None, confidence=0.95, n=9, n_effective=9.0, method="median")


def comparison(name: str, verdict: str, reason: ComparisonReason, **fields: object) -> Comparison:
    values: dict[str, object] = {
        "base": seconds(0.010),
        "head": seconds(0.011),
        "shift": math.log(1.1),
        "low": math.log(1.08),
        "high": math.log(1.12),
        "p_adjusted": 0.00390625,
        "minimum_detectable": math.log(1.021),
        "session_shifts": (0.09, 0.095, 0.1, 0.1),
        "facts": (("fail_at", 0.02), ("tolerate", 0.05), ("alpha", 0.05)),
    }
    return Comparison(
        cell_id=f"{name}/train/b8/cpu/fp32",
        cell_key=name,
        verdict=ComparisonVerdict(verdict),
        reason=reason,
        **(values | fields),  # type: ignore[arg-type]
    )


SLOWER = comparison(
    "my_net",
    "slower",
    ComparisonReason.SLOWDOWN_CONFIRMED,
    voided=(("busy cores", 2),),
    shown_by=ShownBy.EVERY_STEP,
    look=2,
    looks=6,
)
SAME = comparison(
    "mlp",
    "same",
    ComparisonReason.SLOWDOWN_EXCLUDED,
    shift=0.001,
    low=-0.01,
    high=0.012,
    mean_high=0.014,
    look=1,
    looks=6,
    p_adjusted=None,
)
MISSING = comparison(
    "rnn",
    "incomparable",
    ComparisonReason.MISSING_SIDE,
    **dict.fromkeys(("base", "head", "shift", "low", "high", "p_adjusted", "minimum_detectable")),
    session_shifts=(),
    facts=(("side", "base"), ("error", "no model named 'rnn'")),
)
ALL = (SLOWER, SAME, MISSING)


@pytest.mark.parametrize("width", [60, 80, 132])
def test_no_line_is_wider_than_the_page(width: int) -> None:
    text = on_page(comparison_document(ALL, HEADING), width)
    assert max(map(len, text.splitlines())) <= width


def test_eighty_columns_hold_all_figures_of_a_comparison() -> None:
    text = on_page(comparison_document(ALL, HEADING))
    row = next(line for line in text.splitlines() if line.startswith("my_net/b8"))
    assert row.split() == ["my_net/b8", "10.0", "11.0", "+10.0", "+8.0..+12.0", "2.1", "SLOWER", "0.004"]


def test_every_verdict_has_its_reason_in_one_line() -> None:
    text = " ".join(on_page(comparison_document(ALL, HEADING)).split())
    assert "my_net/b8: SLOWER: +10.0 % every step, after 4 sessions (look 2 of 6), p 0.004; fails from +2 %" in text
    excluded = "at most +1.4 %, so a slowdown of +5 % is excluded, after 4 sessions (look 1 of 6)"
    assert f"mlp/b8: same: {excluded}; 2.1 % would have been seen" in text
    assert "rnn/b8: incomparable: base: no model named 'rnn'" in text
    assert "void sessions: busy cores 2" in text
    assert text.endswith("3 cells: 1 slower, 1 same, 1 incomparable")


@pytest.mark.parametrize("reason", list(ComparisonReason))
def test_there_are_words_for_every_reason(reason: ComparisonReason) -> None:
    full = comparison("mlp", "inconclusive", reason)
    empty = Comparison(cell_id="mlp", cell_key="k", verdict=ComparisonVerdict.INCONCLUSIVE, reason=reason)
    for one in (full, empty):
        words = reason_text(one)
        assert words
        assert "None" not in words
        assert "\n" not in words


def test_a_budget_that_ended_before_a_session_counted_names_no_change() -> None:
    ended = comparison("net", "inconclusive", ComparisonReason.BUDGET_ENDED, shift=None, session_shifts=(), looks=6)
    assert reason_text(ended) == "0 sessions count, undecided when the budget ended; give it more time"


def test_other_parameters_are_no_verdict_with_a_change_and_without() -> None:
    work = comparison("net", "incomparable", ComparisonReason.DIFFERENT_WORK)
    same = "the parameters differ: not the same model"
    assert reason_text(work) == f"{same}, so {change(work.shift)} % is no verdict on code (timed all the same)"
    untimed = comparison("net", "incomparable", ComparisonReason.DIFFERENT_WORK, shift=None)
    assert reason_text(untimed) == same


def test_a_slowdown_of_some_steps_says_so() -> None:
    reason = ComparisonReason.SLOWDOWN_CONFIRMED
    some = comparison("mlp", "slower", reason, shown_by=ShownBy.ON_AVERAGE, look=2, looks=6)
    assert reason_text(some).startswith("+10.0 % on average (some steps), after 4 sessions (look 2 of 6)")


def test_a_comparison_of_an_older_version_reads_as_it_did() -> None:
    old = comparison("mlp", "slower", ComparisonReason.SLOWDOWN_CONFIRMED)
    assert reason_text(old) == "+10.0 %, on 4 sessions, p 0.004; fails from +2 %"


def test_counts_that_differ_are_facts_with_both_values() -> None:
    facts = (("flops_base", 200), ("flops_head", 250), ("parameters_base", 1000), ("parameters_head", 1000_000))
    other = comparison("mlp", "incomparable", ComparisonReason.DIFFERENT_WORK, facts=facts)
    text = " ".join(on_page(comparison_document((other,), HEADING)).split())
    assert "FLOPs per step 200 -> 250 (+25.00 %), exactly" in text
    assert "parameters 1,000 -> 1,000,000" in text
    assert "no verdict on code (timed all the same)" in text


def test_a_plain_terminal_gets_ascii_only() -> None:
    assert on_page(comparison_document(ALL, HEADING), unicode=False).isascii()


def test_markdown_begins_with_the_verdict_and_cannot_be_broken_by_a_name() -> None:
    evil = comparison("x|<b>@everyone", "same", ComparisonReason.SLOWDOWN_EXCLUDED)
    text = as_markdown(comparison_document((SLOWER, evil), HEADING))
    assert text.startswith("### Slower: 2 cells: 1 slower, 1 same\n")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "<b>" not in text
    assert "@everyone" not in text


def test_a_headline_never_calls_an_unjudged_comparison_clean() -> None:
    unsure = comparison("mlp", "inconclusive", ComparisonReason.CANNOT_DETECT)
    assert headline((SAME,), HEADING).startswith("No regression:")
    assert headline((SAME, unsure), HEADING).startswith("No regression shown, not all judged")
    unfit = Heading(base="a", head="b", method="", unfit="busy")
    assert headline((SAME,), unfit).startswith("No verdict")
    assert "UNFIT: busy" in as_markdown(comparison_document((SAME,), unfit))


def test_names_leave_out_only_what_all_cells_share() -> None:
    names, common = short_names([SLOWER.cell_id, SAME.cell_id])
    assert names == ["my_net/b8", "mlp/b8"]
    assert common == "train, cpu, fp32"


def test_two_cells_are_told_apart_by_what_they_do_not_share() -> None:
    a, b = "net/train/b8/cpu/fp32/64", "net/infer/b8/cpu/bf16-amp/64"
    assert short_names([f"{b} : {a}"]) == (["net/infer/b8/bf16-amp/64 : net/train/b8/fp32/64"], "cpu")
    alike = "net@width=2/train/b8/cpu/fp32 : net/train/b8/cpu/fp32"
    assert short_names([alike]) == (["net@width=2/b8 : net/b8"], "train, cpu, fp32")


def test_two_cells_are_answered_as_a_ratio_of_b_to_a() -> None:
    pair = Heading(base="net/train/b8/cpu/fp32", head="net/train/b16/cpu/fp32", method="6 sessions", per="example")
    one = comparison("pair", "slower", ComparisonReason.SLOWDOWN_CONFIRMED)
    said = f"{pair.head} takes 1.100 times as long as {pair.base} (1.080 to 1.120): slower per example"
    assert headline((one,), pair) == said
    text = on_page(comparison_document((one,), pair))
    assert "regression" not in text.lower() and "base" not in text and "head" not in text
    assert f"A {pair.base} · B {pair.head}" in " ".join(text.split())
    assert re.search(r"\bA +B +change", text)
    unfit = replace(pair, unfit="most sessions are void")
    assert headline((one,), unfit) == f"No verdict, the machine is unfit: {said}"


def test_a_few_likely_commits_are_listed_because_others_may_lie_between() -> None:
    commits = tuple(Commit(name=f"{n:09d}" + "f" * 31) for n in range(6))
    assert likely_text(Likely(cell_id="net", commits=commits[:3:2], share=0.957)) == (
        "net: 96 % in 2 commits: 000000000, 000000002"
    )
    assert likely_text(Likely(cell_id="net", commits=commits, share=0.95)) == (
        "net: 95 % in 6 commits: 000000000, 000000001, 000000002, 000000003 and 2 more"
    )


def test_a_strip_shows_where_the_sessions_lie() -> None:
    drawn = strip((0.0, 0.0, 0.05, -0.2, 0.2), 0.1)
    half = STRIP_WIDTH // 2
    assert len(drawn) == STRIP_WIDTH
    assert drawn[0] == "‹"
    assert drawn[-1] == "›"
    assert drawn[half] == "•"
    assert drawn[half + half // 2] == "∙"
    assert strip((), 0.1)[half] == "│"


def test_the_ends_of_a_strip_are_the_changes_that_they_stand_for() -> None:
    for shifts, ends in (
        ((0.04,), "from -5% to +5%"),
        ((-3.3,), "from -99.3% to +14741%"),
        ((0.5,), "from -39.3% to +64.9%"),
    ):
        text = " ".join(on_page(comparison_document((replace(SLOWER, session_shifts=shifts),), HEADING)).split())
        assert f"one dot per session, {ends} " in text
        assert ("sessions ±5%" in text) == (ends == "from -5% to +5%")


def test_one_range_serves_all_strips() -> None:
    assert strip_range((SLOWER, SAME)) == 0.1
    assert strip_range((MISSING,)) == 0.05


def test_a_change_is_the_ratio_not_its_logarithm() -> None:
    assert change(math.log(1.5)) == "+50.0"
    assert change(math.log(0.5)) == "-50.0"
    assert change(None) == "-"
