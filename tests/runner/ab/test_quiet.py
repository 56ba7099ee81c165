"""`bench ab` says at once that the machine is busy, and waits for it on request."""

import itertools
from pathlib import Path

import pytest

from bench.cli import machine
from bench.core.errors import IncomparableError
from bench.runner.ab import scout
from bench.runner.ab.scout import wait_for_quiet
from bench.runner.ab.stages import Settings


def waited(busy, patience):
    """Return what was told and how often the machine was looked at; a look takes half a second, and says `busy`."""
    told, looks, ticks = [], iter(busy), itertools.count(step=0.25)
    wait_for_quiet(patience, told.append, busy_cores=lambda: next(looks), clock=lambda: next(ticks))
    return told, len(busy) - len(list(looks))


@pytest.mark.parametrize("busy", [0.0, 0.2, None])
def test_a_quiet_machine_is_not_spoken_of(busy):
    assert waited([busy, 9.0], None) == ([], 1)


def test_without_patience_it_is_said_once():
    told, looks = waited([1.6, 1.6], None)
    assert looks == 1
    assert told == ["other work keeps 1.6 cores busy; --wait 5m waits until the machine is quiet"]


def test_what_follows_is_that_of_the_command():
    told = []
    wait_for_quiet(None, told.append, follows="sessions that it disturbs are void", busy_cores=lambda: 1.6)
    assert told == ["other work keeps 1.6 cores busy; sessions that it disturbs are void"]


def test_with_patience_it_waits_until_it_is_quiet():
    told, looks = waited([1.6, 1.2, 0.1, 1.6], 300.0)
    assert looks == 3
    assert len(told) == 1
    assert told[0].startswith("other work keeps 1.6 cores busy; waiting for quiet, 5 min")


def test_a_machine_that_stays_busy_is_unfit():
    with pytest.raises(IncomparableError, match="did not become quiet in 10 s: other work keeps"):
        waited([1.6] * 100, 10.0)


@pytest.mark.parametrize(("judges", "fate"), [(True, "are void"), (False, "count all the same (--no-void)")])
def test_a_busy_machine_is_told_what_becomes_of_the_sessions(
    monkeypatch: pytest.MonkeyPatch, judges: bool, fate: str
) -> None:
    said: list[str] = []
    monkeypatch.setattr(scout, "wait_for_quiet", lambda _, tell, *, follows: tell(follows))
    machine._unchanged((), {}, Settings(judges_state=judges), Path(), said.append).get_ready()
    assert said == [f"sessions that it disturbs {fate}"]
