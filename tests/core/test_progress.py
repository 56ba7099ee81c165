"""What a command is doing reaches whoever listens, and costs nothing where nobody does."""

import time

from bench.core.progress import expect, listening, tell, told, waited_for


def test_what_is_told_reaches_the_listener_of_the_block_only() -> None:
    heard: list[tuple[str, int, int | None]] = []
    tell("before")
    with listening(lambda *values: heard.append(values)):
        tell("counting", 1, 3)
        with listening(lambda *_: None):
            tell("inside")
        tell("loading")
    tell("after")
    assert heard == [("counting", 1, 3), ("loading", 0, None)]


def test_items_pass_as_they_are_and_are_counted() -> None:
    heard: list[tuple[str, int, int | None]] = []
    with listening(lambda *values: heard.append(values)):
        assert list(told(iter("ab"), "reading", 2)) == ["a", "b"]
    assert heard == [("reading", 0, 2), ("reading", 1, 2), ("reading", 2, 2)]


def test_what_is_expected_reaches_who_waits_for_the_block_only() -> None:
    heard: list[float] = []
    expect(1.0)
    with waited_for(heard.append):
        expect(2.0)
        expect()
    expect(3.0)
    assert heard == [2.0, 0.0]


def test_who_waits_is_not_woken_by_every_batch_that_the_work_goes_on() -> None:
    heard: list[float] = []
    with waited_for(heard.append):
        began = time.monotonic()
        for _ in range(1000):
            expect()
        expect(2.0)
        expect(2.0)
        most = 1 + (time.monotonic() - began) / 0.1
    assert 1 <= heard.count(0.0) <= most
    assert heard.count(2.0) == 2
