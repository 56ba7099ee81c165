from __future__ import annotations

from dataclasses import replace

import pytest

from bench.core.cell import CompileMode
from bench.core.record import ColdStart, Phase, Record
from bench.stats.cold import Payback, payback_of, start_of, steps_until_steady
from tests.records import make_record


def _begun(record: Record, *, build: float, warmup: tuple[float, ...]) -> Record:
    return replace(
        record,
        samples=tuple(
            replace(s, build_seconds=build, warmup_seconds=warmup) if s.phase is Phase.STEP else s
            for s in record.samples
        ),
    )


@pytest.mark.parametrize(
    ("warmup", "expected"),
    [
        ((1.0, 1.0, 1.0), 0),
        ((9.0, 1.0, 1.0, 1.0), 1),
        ((9.0, 1.0, 7.0, 1.0, 1.0, 1.0, 1.0, 1.0), 3),  # compiled again: a median of five would not see it
        ((9.0, 1.0, 1.4, 1.0, 1.0, 1.0, 1.0, 1.0), 1),  # one slow step of a busy machine
        ((9.0, 5.0, 3.0), None),
        ((), None),
    ],
)
def test_steps_until_steady(warmup: tuple[float, ...], expected: int | None) -> None:
    assert steps_until_steady(warmup, 1.0) == expected


def test_startup_is_the_build_and_the_excess_of_the_first_steps() -> None:
    start = start_of(_begun(make_record(step=1.0, noise=0.0), build=2.0, warmup=(9.0, 1.0, 1.0)))
    assert (start.build_seconds, start.first_step_seconds, start.steps_until_steady) == (2.0, 9.0, 1)
    assert start.startup_seconds == pytest.approx(10.0)


def test_an_old_record_without_a_build_has_its_first_step_only() -> None:
    record = _begun(make_record(step=1.0, noise=0.0), build=2.0, warmup=(9.0, 1.0, 1.0))
    old = replace(record, samples=tuple(replace(s, build_seconds=None) for s in record.samples))
    start = start_of(old)
    assert (start.build_seconds, start.first_step_seconds, start.startup_seconds) == (None, 9.0, None)
    assert start_of(make_record(step=None)).steps_until_steady is None


def _cold(*, build: float, first: float, has_cache: bool = False) -> ColdStart:
    steps = (first, 1.0, 1.0)
    return ColdStart(
        has_cache=has_cache, python_seconds=0.5, import_seconds=2.5, build_seconds=build, step_seconds=steps
    )


def test_compiling_is_what_first_steps_take_beyond_steady_ones() -> None:
    record = make_record(step=1.0, noise=0.0, compile=CompileMode.DEFAULT)
    starts = (_cold(build=2.0, first=21.0), _cold(build=2.0, first=6.0, has_cache=True))
    start = start_of(replace(record, cold_starts=starts))
    assert (start.cold_seconds, start.cached_seconds) == (26.0, 11.0)
    assert start.compile_seconds == pytest.approx(20.0)
    eager = start_of(replace(make_record(step=1.0, noise=0.0), cold_starts=starts[:1]))
    assert (eager.compile_seconds, eager.cold_seconds) == (None, 26.0)
    assert start_of(replace(record, cold_starts=(ColdStart(has_cache=False, reason="no"),))).cold_seconds is None


def test_payback_counts_cold_starts_where_both_have_one() -> None:
    eager = replace(make_record(step=1.0, noise=0.0), cold_starts=(_cold(build=2.0, first=3.0),))
    compiled = make_record(step=0.5, noise=0.0, compile=CompileMode.DEFAULT)
    compiled = replace(compiled, cold_starts=(replace(_cold(build=2.0, first=21.0), step_seconds=(20.5, 0.5, 0.5)),))
    assert payback_of(compiled, eager) == Payback(steps=36)  # 20 - 2 s more, 0.5 s less per step


@pytest.mark.parametrize(
    ("step", "noise", "expected"),
    [
        (0.5, 0.0, Payback(steps=20)),  # 1 + 9.5 s of start-up beside 0.5 s, 0.5 s less per step
        (1.5, 0.0, Payback(reason="never")),
        (0.999, 0.2, Payback(reason="as fast")),
        (1.001, 0.2, Payback(reason="as fast")),  # slower by less than the noise
    ],
)
def test_payback_of_compiling(step: float, noise: float, expected: Payback) -> None:
    eager = _begun(make_record(step=1.0, noise=noise), build=0.5, warmup=(1.0, 1.0, 1.0))
    record = make_record(step=step, noise=noise, compile=CompileMode.DEFAULT)
    compiled = _begun(record, build=1.0, warmup=(step + 9.5, step, step))
    assert payback_of(compiled, eager) == expected
    assert payback_of(eager, eager) is None
    assert payback_of(compiled, None) is None
