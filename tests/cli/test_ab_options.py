from __future__ import annotations

import pytest

from bench.cli.options import read_fraction, read_threshold
from bench.core.errors import UsageError
from bench.core.units import format_duration


@pytest.mark.parametrize(("text", "value"), [("2%", 0.02), ("0.02", 0.02), ("150%", 1.5), ("0", 0.0), ("2.5%", 0.025)])
def test_a_share_is_read_with_or_without_percent(text: str, value: float) -> None:
    assert read_fraction(text, "--fail-at") == pytest.approx(value)


@pytest.mark.parametrize("text", ["2", "x", "-1%", "%", "nan", ""])
def test_what_is_no_share_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match="--fail-at must be a share"):
        read_fraction(text, "--fail-at")


def test_a_threshold_that_tolerates_less_than_it_fails_at_is_refused() -> None:
    assert read_threshold("2%", "5%", 0.05).tolerate == pytest.approx(0.05)
    with pytest.raises(UsageError, match="fail_at <= tolerate"):
        read_threshold("5%", "2%", 0.05)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (3900, "1 h 5 min")]
)
def test_a_duration_is_said_as_people_say_it(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
