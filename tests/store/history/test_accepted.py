from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.errors import StoreError
from bench.core.history import AcceptedChange
from bench.store.history.accepted import is_named, marks, read_accepted
from tests.store.history.entries import commit_of

HEADER = "cell,commit,metric,reason\n"


def test_rows_are_read_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "accepted.csv"
    path.write_text(
        f'{HEADER}# a comment, with a comma\n\nmy_net/*,1A2B3C4,*,"bigger, PR 12"\nmlp,{"ab" * 20},parameters,x\n'
    )
    first, second = read_accepted(path)
    assert first == AcceptedChange(cell="my_net/*", commit="1a2b3c4", metric="*", reason="bigger, PR 12", line=4)
    assert (second.metric, second.line) == ("parameters", 5)


def test_no_file_is_no_accepted_change(tmp_path: Path) -> None:
    assert read_accepted(tmp_path / "accepted.csv") == ()


def test_the_file_of_this_repository_can_be_read() -> None:
    read_accepted(Path(__file__).parents[3] / "results" / "accepted.csv")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cell;commit\n", "accepted.csv:1: the columns must be cell,commit,metric,reason"),
        (f"{HEADER}my_net,1a2b3c4,*\n", "accepted.csv:2: 3 fields, not 4"),
        (f"{HEADER}my_net,1a2b3c4,*,bigger, PR 12\n", "accepted.csv:2: 5 fields, not 4; put a reason with commas"),
        (f"{HEADER},1a2b3c4,*,x\n", "accepted.csv:2: which cell"),
        (f"{HEADER}my_net,main,*,x\n", "accepted.csv:2: 'main' is no commit"),
        (f"{HEADER}my_net,1a2b3c,*,x\n", "at least 7 of its hex digits"),
        (
            f"{HEADER}my_net,1a2b3c4,step_median,x\n",
            "no metric named 'step_median'. Did you mean 'step_median_seconds'",
        ),
        (f"{HEADER}my_net,1a2b3c4,*, \n", "an accepted change needs a reason"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "accepted.csv"
    path.write_text(text)
    with pytest.raises(StoreError) as caught:
        read_accepted(path)
    assert words in str(caught.value)


def test_a_pattern_is_no_beginning_of_a_word() -> None:
    assert is_named("my_net", key="k", name="my_net/train/b8")
    assert is_named("k", key="k", name="my_net/train/b8")
    assert not is_named("my_net", key="k", name="my_net_2/train/b8")
    assert not is_named("MY_NET/*", key="k", name="my_net/train/b8")


def test_marks_stand_where_the_commit_was_first_measured() -> None:
    commits = [None, *map(commit_of, (1, 1, 2, 3, 3))]
    accepted = [
        AcceptedChange(cell="net", commit=commit_of(3), metric="*", reason="third"),
        AcceptedChange(cell="net", commit=commit_of(1), metric="*", reason="first"),
        AcceptedChange(cell="net", commit=commit_of(9), metric="*", reason="elsewhere"),
    ]
    found = marks(accepted, commits, key="k", name="net", metric="m")
    assert [(mark.index, mark.reason) for mark in found] == [(1, "first"), (4, "third")]
