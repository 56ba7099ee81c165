from __future__ import annotations

from bench.report.formats import markdown
from bench.tables.table import Column, Page, fits, render

MODEL = Column(name="model", cells=("a", "a", "b"), right=False, key=True)
BATCH = Column(name="batch", cells=("8", "32", "8"), key=True)
TIME = Column(name="step", unit="ms", cells=("1.5", "10", "2"))
RATE = Column(name="rate", cells=("1", "2", "3"), rank=1)
WIDE = Column(name="wide", cells=("x" * 30,) * 3, rank=2)
LATE = Column(name="late", cells=("1", "2", "3"), rank=3)


def test_repeated_keys_are_blank_and_figures_stand_right() -> None:
    assert render([MODEL, BATCH, TIME], Page(width=40)).splitlines() == [
        "              step",
        "model  batch    ms",
        "──────────────────",
        "a          8   1.5",
        "          32    10",
        "b          8     2",
    ]


def test_the_last_key_stands_even_where_it_repeats() -> None:
    same = Column(name="batch", cells=("8", "8", "8"), key=True)
    lines = render([MODEL, same], Page()).splitlines()[2:]
    assert [line.split() for line in lines] == [["a", "8"], ["8"], ["b", "8"]]


def test_columns_join_by_rank_until_one_does_not_fit() -> None:
    columns = [MODEL, BATCH, TIME, RATE, WIDE, LATE]
    assert "late" in render(columns, Page(width=80))
    narrow = render(columns, Page(width=30))
    assert "rate" in narrow and "wide" not in narrow and "late" not in narrow  # late would fit, but ranks below wide
    assert fits(columns, 30, 1) and not fits(columns, 30, 2)


def test_a_name_that_is_too_long_gives_way_to_the_figures() -> None:
    name = Column(name="model", cells=("torchvision:resnet18",), right=False, key=True)
    text = render([name, Column(name="step", cells=("1.5",))], Page(width=20))
    assert text.splitlines()[-1] == "torch…sion…"[:5] + text.splitlines()[-1][5:]
    assert "resnet18" in text and "1.5" in text
    assert max(map(len, text.splitlines())) == 20


def test_a_span_stands_after_the_keys_and_is_cut() -> None:
    text = render([MODEL, BATCH, TIME], Page(width=24), spans={1: "SKIPPED: no such device"})
    assert text.splitlines()[4] == "          32  SKIPPED: …"
    ascii_text = render([MODEL, BATCH, TIME], Page(width=24, unicode=False), spans={1: "SKIPPED: no such device"})
    assert ascii_text.splitlines()[4] == "          32  SKIPPED:.."


def test_groups_indent_their_rows_and_sums_stand_below_a_rule() -> None:
    lines = render([BATCH, TIME], Page(), groups={0: "a", 2: "b"}, total=True).splitlines()
    assert lines[2:] == ["─" * 13, "a", "      8   1.5", "     32    10", "b", "─" * 13, "      8     2"]


def test_two_long_names_share_the_loss_and_figures_keep_theirs() -> None:
    names = [Column(name=header, cells=("x" * 40,), right=False, key=True) for header in ("model", "claim")]
    text = render([*names, Column(name="documented", cells=("19,600,000,000",))], Page(width=60))
    assert text.splitlines()[-1].split() == ["x" * 7 + "…" + "x" * 13, "x" * 7 + "…" + "x" * 13, "19,600,000,000"]


def test_noise_belongs_to_its_column_in_every_format() -> None:
    step = Column(name="step", unit="ms", cells=("12.1", "9.0"), noise=("± 0.4", ""))
    remark = Column(name="", cells=("accepted", ""), right=False)
    assert markdown.table([step, remark]).splitlines() == [
        "| step ms |  |",
        "|---:|---|",
        "| 12.1 ± 0.4 | accepted |",
        "| 9.0 |  |",
    ]
    assert [line.split() for line in render([step, remark], Page()).splitlines()[3:]] == [
        ["12.1", "±", "0.4", "accepted"],
        ["9.0"],
    ]


def test_a_word_longer_than_a_line_breaks_behind_commas_and_others_not_at_hyphens() -> None:
    name = f"decoder_lm@{','.join(f'option_{n}={n}' for n in range(9))}"
    lines = Page(width=40).wrap(f"ERRATUM {name} says so", indent="  ").splitlines()
    assert max(map(len, lines)) <= 40
    assert all(line.endswith(",") for line in lines[1:-2])
    assert "".join(line.strip() for line in lines).startswith(f"ERRATUM {name}")
    run = "20261130-092035-29c244"
    assert Page(width=40).wrap(f"{'a' * 30} {run}").splitlines() == ["a" * 30, run]


def test_columns_that_do_not_fit_are_named_with_the_width_needed() -> None:
    key = Column(name="model", cells=("a_model",), key=True, right=False)
    wide = [Column(name=f"figure {n}", unit="ms", cells=("1234567890",), noise=("± 2",), rank=n) for n in (1, 2, 3)]
    page = Page(width=30, widened_by="--width")
    last = render([key, *wide], page).splitlines()[-2:]
    assert " ".join(last) == "Not shown: figure 2 ms, figure 3 ms. --width 55 shows all."
    assert "Not shown" not in render([key, *wide], Page(width=55, widened_by="--width"))
    assert "figure 3" in render([key, *wide], Page(width=55, widened_by="--width"))
    assert "Not shown" not in render([key, *wide], Page(width=30))  # a page that nobody can widen


def test_words_that_do_not_fit_are_left_out_alone_and_figures_of_their_rank_stay() -> None:
    key = Column(name="model", cells=("a_model",), key=True, right=False)
    figure, later = (Column(name=name, cells=("12",), rank=rank) for name, rank in (("fwd", 1), ("peak", 2)))
    words = Column(name="own phases", cells=("fake 21, discriminator 35, generator 36",), rank=1, right=False)
    head, *_ = text = render([key, figure, words, later], Page(width=40, widened_by="--width")).splitlines()
    assert head.split() == ["model", "fwd", "peak"]
    assert " ".join(text[-2:]) == "Not shown: own phases. --width 59 shows all."
    assert render([key, figure, words, later], Page(width=59)).splitlines()[0].split()[-1] == "peak"
