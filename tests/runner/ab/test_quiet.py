"""`bench ab` says at once that the machine is busy, and waits for it on request."""

import itertools

import pytest

from bench.core.errors import IncomparableError
from bench.runner.ab.scout import wait_for_quiet


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
