from __future__ import annotations

import csv
import io
import math
import shlex
from dataclasses import replace

import numpy as np
import pytest

from bench.core.history import AcceptedChange, NominationKind
from bench.stats.changepoint import find_change_points
from bench.store.history.accepted import HEADER
from bench.store.history.nominate import Settings, nominate
from tests.stats.simulate import ar1
from tests.store.history.entries import SERIES, commit_of, rows_of

NOISE = 0.03


def noisy(days: int, *, phi: float = 0.5, level: float = 0.012, noise: float = NOISE, seed: int = 0) -> np.ndarray:
    return level * np.exp(noise * ar1(np.random.default_rng(seed), (days,), phi))


def kinds(*found: object) -> list[str]:
    return [nomination.kind.value for nomination in found]  # type: ignore[attr-defined]


def test_a_step_is_nominated_with_its_commits_and_judging_command() -> None:
    values = noisy(60, seed=1)
    values[40:] *= 1.2
    (found,) = nominate(SERIES, rows_of(values))
    assert found.kind is NominationKind.CHANGE
    assert (found.good_commit, found.bad_commit) == (commit_of(39), commit_of(40))
    assert found.shift == pytest.approx(math.log(1.2), abs=0.05)
    assert found.command == f"bench ab {commit_of(39)[:12]} {commit_of(40)[:12]} my_net -b 8"
    assert (found.past, found.started_at) == (40, "2026-02-10T00:00:00+00:00")


def test_the_newest_value_is_held_against_what_the_past_predicts() -> None:
    values = noisy(40, seed=2)
    values[-1] *= 1.3
    (found,) = nominate(SERIES, rows_of(values))
    assert found.kind is NominationKind.NEWEST
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.before < found.high < found.after == values[-1]
    assert (found.good_commit, found.bad_commit) == (commit_of(38), commit_of(39))


def test_after_a_step_the_newest_value_is_held_against_the_new_level() -> None:
    values = noisy(60, seed=3)
    values[30:] *= 1.5
    values[-1] /= 1.5  # back to where it was
    assert kinds(*nominate(SERIES, rows_of(values))) == ["change", "newest"]


def test_a_speedup_is_nominated_too() -> None:
    values = noisy(60, seed=4)
    values[40:] /= 1.2
    (found,) = nominate(SERIES, rows_of(values))
    assert found.shift == pytest.approx(-math.log(1.2), abs=0.05)


def test_a_small_change_is_not_worth_a_look_however_sure() -> None:
    values = noisy(60, noise=0.0005, seed=5)
    values[40:] *= 1.01
    assert nominate(SERIES, rows_of(values)) == ()
    assert kinds(*nominate(SERIES, rows_of(values), settings=Settings(at=0.005))) == ["change"]


def test_from_an_accepted_change_on_the_past_is_new() -> None:
    values = noisy(60, seed=1)
    values[40:] *= 1.2
    change = AcceptedChange(cell="my_net/*", commit=commit_of(40)[:10], metric="step_median_seconds", reason="bigger")
    assert nominate(SERIES, rows_of(values), accepted=[change]) == ()
    for other in (replace(change, cell="mlp/*"), replace(change, metric="parameters"), replace(change, commit="f" * 9)):
        assert kinds(*nominate(SERIES, rows_of(values), accepted=[other])) == ["change"]


def test_an_unmeasured_accepted_commit_counts_from_a_descendant() -> None:
    values = noisy(60, seed=1)
    values[40:] *= 1.2
    change = AcceptedChange(cell=SERIES.key, commit="f" * 9, metric="*", reason="bigger")
    later = frozenset(commit_of(day) for day in range(40, 60))
    assert nominate(SERIES, rows_of(values), accepted=[change], descendants={"f" * 9: later}.__getitem__) == ()


def test_a_count_that_changed_is_exact() -> None:
    rows = rows_of(noisy(12), parameters=[1000] * 9 + [1100] * 3, dispatch_count=[141] * 12, flops_forward=[None] * 12)
    (found,) = nominate(SERIES, rows)
    assert (found.kind, found.metric, found.before, found.after) == (NominationKind.EXACT, "parameters", 1000, 1100)
    assert found.shift == pytest.approx(math.log(1.1))
    assert (found.good_commit, found.bad_commit) == (commit_of(8), commit_of(9))
    accepted = AcceptedChange(cell="my_net", commit=commit_of(9), metric="parameters", reason="a layer")
    assert nominate(SERIES, rows, accepted=[accepted]) == ()


def test_a_count_that_was_not_made_is_no_change() -> None:
    assert nominate(SERIES, rows_of(noisy(5), parameters=[1000, None, 1000, None, 1000])) == ()


def test_a_cell_that_fails_since_a_commit_is_nominated_until_it_ends_well() -> None:
    outcomes = ["ok"] * 6 + ["out_of_memory"] * 2
    steps = [0.01] * 6 + [None] * 2
    (found,) = nominate(SERIES, rows_of(steps, outcome=outcomes))
    assert (found.metric, found.before, found.after, found.shift) == ("outcome", "ok", "out_of_memory", None)
    assert found.bad_commit == commit_of(6)
    assert nominate(SERIES, rows_of([*steps, 0.01], outcome=[*outcomes, "ok"])) == ()


def test_one_commit_on_both_sides_is_the_machine_not_the_code() -> None:
    rows = rows_of([0.010] * 10 + [0.013] * 10, git_commit=["a" * 40] * 20)
    (found,) = nominate(SERIES, rows)
    assert found.command is None
    assert "not the code changed, but the machine" in found.why_none
    dirty = rows_of([0.010] * 10 + [0.013] * 10, git_commit=["a" * 40] * 20, git_dirty=[False] * 10 + [True] * 10)
    (found,) = nominate(SERIES, dirty)
    assert found.command == "bench ab aaaaaaaaaaaa . my_net -b 8"
    assert found.is_dirty


def test_without_commits_the_command_has_places_to_fill_in() -> None:
    (found,) = nominate(SERIES, rows_of([0.010] * 10 + [0.013] * 10, git_commit=[None] * 20))
    assert found.command == "bench ab BASE HEAD my_net -b 8"
    assert found.accept is None


def test_what_is_no_cell_of_ours_has_no_command() -> None:
    foreign = replace(SERIES, cell=None, name="test_x.py::test_sort")
    (found,) = nominate(foreign, rows_of([0.010] * 10 + [0.013] * 10))
    assert found.command is None
    assert "bench_cell" in found.why_none


def test_measurements_that_name_no_machine_are_never_compared() -> None:
    assert nominate(replace(SERIES, fingerprint=None), rows_of([0.010] * 10 + [0.013] * 10)) == ()


def test_the_row_that_accepts_it_accepts_it() -> None:
    rows = rows_of([0.010] * 10 + [0.013] * 10)
    odd = replace(SERIES, name='my "net", with a comma/train/b8/cpu/fp32')
    (found,) = nominate(odd, rows)
    assert found.accept is not None
    (fields,) = csv.reader(io.StringIO(found.accept))
    change = AcceptedChange(**dict(zip(HEADER, fields, strict=True)))
    assert nominate(odd, rows, accepted=[change]) == ()
    assert found.command is not None
    assert shlex.split(found.command)[:2] == ["bench", "ab"]


def test_few_measurements_nominate_nothing_by_time() -> None:
    assert nominate(SERIES, rows_of([0.010, 0.010, 0.020])) == ()
    assert nominate(SERIES, ()) == ()


def rate(phi: float, days: int, step: float = 1.0, series: int = 60) -> float:
    """Share of series with any nomination; the step begins a quarter before the end."""
    found = []
    for seed in range(series):
        values = noisy(days, phi=phi, seed=1000 + seed)
        values[days - days // 4 :] *= step
        found.append(bool(nominate(SERIES, rows_of(values))))
    return float(np.mean(found))


# The standard error of a rate of 5 % is 2.8 % here. Measured with 1000 series: see docs/history.md.
@pytest.mark.parametrize(("phi", "days"), [(0.0, 30), (0.5, 60), (0.8, 60)])
def test_few_series_without_a_change_have_a_nomination(phi: float, days: int) -> None:
    assert rate(phi, days) <= 0.12


def test_the_autoregressive_term_spares_correlated_series() -> None:
    series = [np.log(noisy(60, phi=0.9, seed=1000 + seed)) for seed in range(40)]
    assert np.mean([bool(find_change_points(x, autoregressive=False).change_points) for x in series]) > 0.6


@pytest.mark.slow
def test_a_step_of_ten_percent_is_mostly_nominated() -> None:
    assert rate(0.0, 40, 1.10) >= 0.85
    assert rate(0.5, 60, 1.10) >= 0.60
