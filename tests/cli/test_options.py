from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from bench.cli.options import parse_clock
from bench.cli.run import parse_retry
from bench.core.advice import DOUBTED
from bench.core.errors import UsageError
from bench.core.record import Outcome


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_berlin")
@pytest.mark.parametrize(
    ("now", "typed", "expected"),
    [
        ("2026-11-29T22:30", "23:31", "2026-11-29T22:31"),
        ("2026-11-29T22:30", "23:30", "2026-11-30T22:30"),  # now is not after now
        ("2026-11-29T22:30", "07:30", "2026-11-30T06:30"),  # past midnight
        ("2026-10-24T20:00", "07:30", "2026-10-25T06:30"),  # clocks are put back at 03:00 meanwhile
        ("2026-10-24T22:00", "02:30", "2026-10-25T00:30"),  # the first of two
        ("2026-10-25T00:45", "02:30", "2026-10-25T01:30"),  # typed between the two
        ("2026-10-25T01:15", "02:45", "2026-10-25T01:45"),  # typed in the second hour
        ("2027-03-27T23:00", "07:30", "2027-03-28T05:30"),  # clocks are put forward at 02:00 meanwhile
        ("2027-03-27T23:00", "02:30", "2027-03-28T01:30"),  # no clock shows it
    ],
)
def test_a_time_of_day_is_the_next_one_that_clocks_show(now: str, typed: str, expected: str) -> None:
    found = parse_clock(typed, "--until", datetime.fromisoformat(f"{now}:00+00:00"))
    assert found == datetime.fromisoformat(f"{expected}:00+00:00")


def test_what_is_no_time_of_day_is_refused() -> None:
    with pytest.raises(UsageError, match="25:00"):
        parse_clock("25:00", "--until")


def test_retry_names_bad_endings_and_doubted_times_only() -> None:
    assert parse_retry("failed, killed", is_none=False) == (Outcome.FAILED, Outcome.KILLED)
    assert parse_retry("doubted", is_none=False) == (DOUBTED,)
    assert (parse_retry(None, is_none=False), parse_retry(None, is_none=True)) == (None, ())
    with pytest.raises(UsageError, match="'ok' is no bad ending"):
        parse_retry("ok", is_none=False)
    with pytest.raises(UsageError, match="exclude"):
        parse_retry("failed", is_none=True)
