from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from bench.cli.options import parse_clock, parse_retry
from bench.core.errors import UsageError
from bench.core.record import Outcome


def test_a_time_of_day_is_the_next_one() -> None:
    soon = datetime.now() + timedelta(minutes=2)
    assert timedelta(0) < parse_clock(f"{soon:%H:%M}", "--until") - datetime.now() <= timedelta(minutes=2)
    before = datetime.now() - timedelta(minutes=2)
    assert timedelta(hours=23) < parse_clock(f"{before:%H:%M}", "--until") - datetime.now() < timedelta(days=1)
    with pytest.raises(UsageError, match="25:00"):
        parse_clock("25:00", "--until")


def test_retry_names_bad_endings_only() -> None:
    assert parse_retry("failed, killed", is_none=False) == (Outcome.FAILED, Outcome.KILLED)
    assert (parse_retry(None, is_none=False), parse_retry(None, is_none=True)) == (None, ())
    with pytest.raises(UsageError, match="'ok' is no bad ending"):
        parse_retry("ok", is_none=False)
    with pytest.raises(UsageError, match="exclude"):
        parse_retry("failed", is_none=True)
