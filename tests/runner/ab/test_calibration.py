from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from bench.core.comparison import Quad
from bench.core.errors import StoreError
from bench.runner.ab.calibration import (
    Calibration,
    best_quads,
    calibration_path,
    read_calibration,
    spread_of,
    spreads_of_cells,
    take_apart,
    write_calibration,
)
from bench.runner.ab.session import AbSession, CellSession
from bench.runner.ab.stages import Settings
from bench.stats.shift import mean_shift, session_shift
from tests.records import ENVIRONMENT
from tests.runner.ab_fakes import cell

MLP = cell("mlp")


def make_sessions(within: float, between: float, slot: float, quads: int, count: int) -> list[AbSession]:
    """Simulate A/A sessions: quads and processes with Gaussian noise, and a slower second process."""
    rng = np.random.default_rng(11)
    sessions = []
    for index in range(count):
        first = "base" if rng.random() < 0.5 else "head"
        level = rng.normal(slot if first == "base" else -slot, between)
        shifts = rng.normal(level, within, size=quads) if within else np.full(quads, level)
        made = tuple(Quad(base=((1.0,), (1.0,)), head=((math.exp(s),), (math.exp(s),))) for s in shifts)
        one = CellSession(
            cell=MLP,
            quads=made,
            shift=session_shift(made),
            mean_shift=mean_shift(made),
            seconds=0.2 * quads,
            build_seconds=1.0,
        )
        sessions.append(AbSession(stage="session", index=index, first=first, cells=(one,), seconds=0.2 * quads + 6.0))
    return sessions


@pytest.mark.slow
def test_simulated_components_are_found_again() -> None:
    noise = take_apart(make_sessions(within=0.03, between=0.02, slot=0.0, quads=16, count=400), MLP, quads=16)
    assert noise is not None
    assert noise.within == pytest.approx(0.03, rel=0.05)
    assert noise.between == pytest.approx(0.02, rel=0.10)
    assert spread_of(noise, 16) == pytest.approx(math.hypot(0.02, math.sqrt(math.pi / 2 / 16) * 0.03), rel=0.10)
    assert noise.slot_p > 0.01
    assert [sessions for sessions, _ in noise.detectable] == [6, 8, 14, 18]


def test_a_slower_second_process_is_told_with_its_p() -> None:
    noise = take_apart(make_sessions(within=0.001, between=0.002, slot=0.015, quads=8, count=14), MLP, quads=8)
    assert noise is not None
    assert noise.slot_shift == pytest.approx(0.015, abs=0.002)
    assert noise.slot_p == pytest.approx(2 * 2**-14)


@pytest.mark.slow
def test_noise_of_quads_alone_leaves_nothing_between() -> None:
    noise = take_apart(make_sessions(within=0.05, between=0.0, slot=0.0, quads=8, count=200), MLP, quads=8)
    assert noise is not None
    assert noise.between < 0.012
    assert noise.best_quads > 16


def test_the_best_number_of_quads_minimises_variance_times_cost() -> None:
    within, between, start, quad = 0.03, 0.01, 8.0, 0.2

    def cost(quads: int) -> float:
        return (between**2 + math.pi / 2 * within**2 / quads) * (start + quad * quads)

    best = best_quads(within, between, start_seconds=start, quad_seconds=quad)
    assert cost(best) == min(map(cost, range(4, 65)))


def test_void_sessions_are_not_part_of_it_and_two_are_too_few() -> None:
    sessions = make_sessions(within=0.01, between=0.01, slot=0.0, quads=4, count=2)
    assert take_apart(sessions, MLP, quads=4) is None


def test_a_calibration_is_kept_per_machine_and_grows_by_cells(tmp_path: Path) -> None:
    sessions = make_sessions(within=0.03, between=0.02, slot=0.0, quads=8, count=14)
    noise = take_apart(sessions, MLP, quads=8)
    assert noise is not None
    fingerprint = ENVIRONMENT.fingerprint
    write_calibration(tmp_path, Calibration(fingerprint=fingerprint, measured_at="now", cells=(noise,)))
    write_calibration(tmp_path, Calibration(fingerprint=fingerprint, measured_at="later", cells=()))
    read = read_calibration(tmp_path, fingerprint)
    assert read is not None
    assert read.cells == (noise,)
    assert read_calibration(tmp_path, "another") is None

    find = spreads_of_cells(tmp_path, Settings(quads=16))
    assert find(ENVIRONMENT, [MLP, cell("cnn")]) == {MLP.key: spread_of(noise, 16)}


def test_a_file_that_is_no_calibration_says_what_to_do(tmp_path: Path) -> None:
    path = calibration_path(tmp_path, "f")
    path.parent.mkdir()
    path.write_text("{}")
    with pytest.raises(StoreError, match="delete it and run 'bench machine noise' again"):
        read_calibration(tmp_path, "f")
